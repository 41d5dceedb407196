"""Networks that are compared: each with its name, its classes, its model card and its role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from ..data import Images
from .fits import Known, check_fits

ROLES = ("baseline", "subject", "other")


@dataclass(frozen=True)
class Network:
    """A network from pixels in [0, 1] to logits, and what is known of it.

    ``classes`` are the names of its classes, in the order of the logits. ``shape`` is (channels, height, width) of its images.
    ``card`` is its model card. ``role`` is what the network is in a comparison: ``baseline``, ``subject`` or ``other``.
    Classes and shape are recorded on the module as `Known`, so that a measurement that takes the module alone can check its images.
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
        if self.classes:  # else nothing is known, and one image is tried
            self.module.known = Known(list(self.classes), self.shape)  # type: ignore[assignment]

    def check_fits(self, images: Images) -> None:
        """ValueError unless these images have the network's classes, channels and size; as `fits.check_fits`."""
        check_fits(self.module, images)


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
