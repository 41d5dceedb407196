"""Networks that are compared: each with its name, its classes, its model card and its role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from ..data import Images
from .fits import Known, check_fits
from .inference import classifies_in_bf16, device_of

ROLES = ("baseline", "subject", "other")


@dataclass(frozen=True)
class Network:
    """A network from pixels in [0, 1] to logits, and what is known of it.

    ``classes`` are the names of its classes, in the order of the logits; [] is unknown. ``shape`` is (channels, height, width) of its
    images; None is unknown.
    ``card`` is its model card. ``role`` is what the network is in a comparison: ``baseline``, ``subject`` or ``other``.
    Classes and shape are recorded on the module as `Known`, so that a measurement that takes the module alone can check its images.
    """

    name: str
    module: nn.Module
    classes: list[str]
    shape: tuple[int, int, int] | None
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
    """Networks by name, in the order of the figures. One of them is the baseline; one is the subject, which is compared with it.

    A network that is `alone` is compared with nothing: it is baseline and subject.
    """

    @classmethod
    def of(cls, networks: Iterable[Network], *, baseline: str, subject: str | None = None) -> Networks:
        """Networks with their roles set; without a ``subject`` the baseline is alone.

        Raises:
            ValueError: ``baseline`` or ``subject`` names none of the networks, or both name the same one.
        """
        if baseline == subject:
            raise ValueError(f"baseline and subject are both {baseline!r}; they must be two networks")
        roles = {baseline: "baseline"} | ({subject: "subject"} if subject is not None else {})
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
        return self.baseline if self.alone else self._in("subject")

    @property
    def alone(self) -> bool:
        """Whether there is no subject, so that nothing is compared."""
        return all(network.role != "subject" for network in self.values())

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the networks: how their classes were fitted to those of the images, whether baseline and subject are of
        different architectures (their parameters have other shapes), and whether accuracy is measured in bfloat16."""
        found: dict[str, list[str]] = {}
        for name, network in self.items():
            if said := network.card.get("fitted"):
                found.setdefault(said, []).append(name)
        notes = [f"{', '.join(names)}: {said}" for said, names in found.items()]
        if classifies_in_bf16(device_of(self.baseline.module)):
            notes.append(
                "accuracy under distortions is measured in bfloat16 (ATVIZ_BF16=all), in which a few images in a hundred are decided otherwise"
            )
        one, other = (sorted(tuple(p.shape) for p in network.module.parameters()) for network in (self.baseline, self.subject))
        if one != other:
            notes.append(
                f"{self.baseline.name} and {self.subject.name} are of different architectures, and a difference can come from that"
            )
        return notes

    def _in(self, role: str) -> Network:
        return next(network for network in self.values() if network.role == role)
