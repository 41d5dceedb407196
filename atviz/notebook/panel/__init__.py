"""Panels for a notebook: sliders, and all networks against one slider."""

from collections.abc import Mapping, Sequence

from ...evidence import Study
from ..explore import State
from ..page import Page
from .comparison import Comparison
from .explorer import Explorer

__all__ = ["Comparison", "Explorer", "compare", "show"]


def show(study: Study, page: Page, state: State | None = None) -> Explorer:
    """The explore panel of a study at a state or, where Voila serves it, at that of the page's link (``?image=3&saturate=1024``).

    Raises:
        ValueError: a state that the study cannot show.
    """
    return Explorer(study, page, state)


def compare(study: Study, page: Page, levels: Mapping[str, Sequence[float]]) -> Comparison:
    """All networks of a study against one slider. ``levels``: distortion → levels; the panel shows those that the records hold."""
    return Comparison(study, page, levels)
