"""atviz: what does an adversarially trained network look at?

The rooms, from the ground floor up; each has its own ``help``:

    data         images, where they come from, drawn worlds, augmentation
    models       architectures, checkpoints, any network by one reference
    attacks      FGSM, PGD and spatial attacks
    distortions  saturated, shuffled, filtered, blurred and stylized images
    saliency     maps by every method, numbers of maps, what filters respond to
    training     recipes, the training loop, fine-tuning of fused networks
    evidence     instruments, accuracies with intervals, findings, controls of known bias
    papers       the tables, figures and claims of Zhang & Zhu (2019) and Itazuri et al. (2019)
    notebook     what a notebook opens: settings, study, page, figures, panels
    app          the command line

Every room is imported when it is first used: ``import atviz; atviz.data.load("fashion", "test")``.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.3.0"

ROOMS = ("data", "models", "attacks", "distortions", "saliency", "training", "evidence", "papers", "notebook", "app")
__all__ = [
    "app", "attacks", "checkout", "data", "distortions", "evidence", "home", "models", "notebook", "papers", "saliency", "shipped", "training"
]  # fmt: skip

_PACKAGE = Path(__file__).resolve().parent
_SHIPPED = _PACKAGE / "_shipped"  # in a wheel; pyproject.toml says what goes there


def __getattr__(name: str) -> Any:
    if name in ROOMS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *ROOMS})


def checkout() -> Path | None:
    """The checkout that this package lies in; None where it was installed from a wheel, which carries a folder of what ships."""
    return None if _SHIPPED.is_dir() else _PACKAGE.parent


def home() -> Path:
    """The folder that holds ``data/``, ``checkpoints/`` and ``results/``.

    ``$ATVIZ_HOME`` where it is set, else the checkout that this package lies in, else the working directory.
    """
    if "ATVIZ_HOME" in os.environ:
        return Path(os.environ["ATVIZ_HOME"]).expanduser().resolve()
    return checkout() or Path.cwd()


def shipped(*parts: str) -> Path:
    """A file that comes with atviz (``data/…``, ``checkpoints/…``, ``notebooks/…``): from the checkout, or from inside an installed wheel."""
    return (checkout() or _SHIPPED).joinpath(*parts)
