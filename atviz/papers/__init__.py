"""The papers: their tables, figures and claims, beside this study's numbers."""

from . import itazuri, zhang_zhu
from .drawing import Drawing
from .tables import readable, reported

__all__ = ["Drawing", "itazuri", "readable", "reported", "zhang_zhu"]
