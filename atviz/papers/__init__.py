"""The papers: their tables, figures and claims, beside this study's numbers."""

from . import itazuri, itazuri_findings, later, zhang_zhu, zhang_zhu_findings
from .drawing import Drawing
from .tables import readable, reported

__all__ = ["Drawing", "itazuri", "itazuri_findings", "later", "readable", "reported", "zhang_zhu", "zhang_zhu_findings"]
