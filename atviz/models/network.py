"""Networks that are compared: each with its name, its classes, its model card and its role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from ..data import Images

ROLES = ("baseline", "subject", "other")


@dataclass(frozen=True)
class Network:
    """A network from pixels in [0, 1] to logits, and what is known of it.

    ``classes`` are the names of its classes, in the order of the logits. ``shape`` is (channels, height, width) of its images.
    ``card`` is its model card. ``role`` is what the network is in a comparison: ``baseline``, ``subject`` or ``other``.
    """

    name: str
    module: nn.Module
    classes: list[str]
    shape: tuple[int, int, int]
    card: dict[str, Any] = field(default_factory=dict)
    role: str = "other"

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"role is {self.role!r}; it must be one of {', '.join(ROLES)}")

    def check_fits(self, images: Images) -> None:
        """ValueError unless the network knows the classes of these images, in their number of channels."""
        channels, known = self.shape[0], self.classes
        if (images.shape[0], list(images.classes)) != (channels, known):
            raise ValueError(
                f"the images of {images.name} have {images.shape[0]} channels and {len(images.classes)} classes, {images.classes[0]} the first; "
                f"the network was trained on {self.card['data']['name']}, with {channels} channels and {len(known)} classes, {known[0]} the first"
            )


class Networks(dict[str, Network]):
    """Networks by name, in the order of the figures. One of them is the baseline, and one is the subject that is compared with it."""

    @classmethod
    def of(cls, networks: Iterable[Network], *, baseline: str, subject: str) -> Networks:
        """Networks with their roles set.

        Raises:
            ValueError: ``baseline`` or ``subject`` names none of the networks, or both name the same one.
        """
        if baseline == subject:
            raise ValueError(f"baseline and subject are both {baseline!r}; they must be two networks")
        roles = {baseline: "baseline", subject: "subject"}
        found = cls({network.name: replace(network, role=roles.get(network.name, "other")) for network in networks})
        for name in roles:
            if name not in found:
                raise ValueError(f"there is no network {name!r}; there are {', '.join(found)}")
        return found

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The modules by name: what a sweep takes."""
        return {name: network.module for name, network in self.items()}

    @property
    def baseline(self) -> Network:
        return self._in("baseline")

    @property
    def subject(self) -> Network:
        return self._in("subject")

    def _in(self, role: str) -> Network:
        return next(network for network in self.values() if network.role == role)
