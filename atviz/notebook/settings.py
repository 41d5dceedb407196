"""What a run depends on: a plan of training, and how images are stylized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..data import load_styles
from ..distortions import Stylizer, check_alpha, load_adain
from ..training import Plan


@dataclass(frozen=True)
class Settings(Plan):
    """A `Plan` with ``styles`` (``procedural`` or a folder), ``adain`` (``small``, a folder, or ENCODER,DECODER) and ``alpha``."""

    styles: str = "procedural"
    adain: str = "small"
    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_alpha(self.alpha)
        if self.adain.count(",") > 1:
            raise ValueError(f"adain is {self.adain!r}; it must be small, a folder, or two files: ENCODER,DECODER")

    @classmethod
    def of(cls, parameters: Mapping[str, Any], **changes: Any) -> Settings:
        """The settings among a notebook's variables, as in ``globals()``.

        A notebook writes 0, "" and [] for what the profile decides; here they become None.
        """
        given = {field.name: parameters[field.name] for field in fields(cls) if field.name in parameters} | changes
        decided = {field.name for field in fields(cls) if field.default is None}
        given = {name: None if name in decided and not value else value for name, value in given.items()}
        return cls(**given | {"models": tuple(given["models"]) if given.get("models") else None})

    @property
    def described(self) -> dict[str, Any]:
        """The settings with what the profile decided, as JSON."""
        decided: dict[str, Any] = {
            "models": [reference.title for reference in self.references],
            "arch": self.scale.arch if self.recipes else "",
        }
        decided |= {"baseline": self.pair[0], "subject": self.pair[1], "weights": self.initial or "none"}
        return asdict(self) | decided

    @property
    def literals(self) -> dict[str, Any]:
        """The settings as a notebook's parameters write them: 0, "" and [] for what the profile decides."""
        empty: dict[str, Any] = {"models": [], **dict.fromkeys(("arch", "weights", "baseline", "subject", "classes"), "")}
        values = {name: empty.get(name, 0) if value is None else value for name, value in asdict(self).items()}
        return values | {"models": list(values["models"])}

    def stylizer(self, side: int) -> Stylizer:
        """The stylizer of these settings, for images of a side.

        Raises:
            FileNotFoundError, ValueError: styles or networks that cannot be read.
        """
        network = load_adain(*self.adain.split(",")) if "," in self.adain else load_adain(self.adain)
        return Stylizer(network, load_styles(self.styles, size=side), alpha=self.alpha, seed=self.seed)
