"""atviz: what does an adversarially trained network look at?"""

from __future__ import annotations

import os
from pathlib import Path

__version__ = "0.1.0"

_PACKAGE = Path(__file__).resolve().parent


def home() -> Path:
    """The folder that holds ``data/``, ``checkpoints/`` and ``results/``.

    ``$ATVIZ_HOME`` where it is set, else the checkout this package lies in, else the working directory.
    """
    if "ATVIZ_HOME" in os.environ:
        return Path(os.environ["ATVIZ_HOME"]).expanduser().resolve()
    return _PACKAGE.parent if (_PACKAGE.parent / "pyproject.toml").is_file() else Path.cwd()


def shipped(*parts: str) -> Path:
    """A file that comes with atviz (``data/…``, ``notebooks/…``): from the checkout, or from inside an installed wheel."""
    checkout = _PACKAGE.parent.joinpath(*parts)
    return checkout if checkout.exists() else _PACKAGE.joinpath("_shipped", *parts)
