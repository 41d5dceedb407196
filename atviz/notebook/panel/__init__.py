"""Panels for a notebook: sliders, and all networks against one slider."""

from collections.abc import Mapping, Sequence

from ...evidence import Study
from ..explore import State, parting
from ..page import Page
from .comparison import Comparison
from .explorer import Explorer
from .sliders import choices

__all__ = ["Comparison", "Explorer", "compare", "show", "slider"]


def show(study: Study, page: Page, state: State | None = None) -> Explorer:
    """The explore panel of a study at a state or, where Voila serves it, at that of the page's link (``?image=3&saturate=1024``).

    Raises:
        ValueError: a state that the study cannot show.
    """
    return Explorer(study, page, state)


def slider(study: Study, page: Page, levels: Mapping[str, Sequence[float]]) -> Explorer:
    """The explore panel with the sliders of a notebook alone, and up to three networks.

    It opens where the first slider is two thirds of its way along, with the test image of `parting`. Its shares are measured first, where the
    records do not hold them. ``levels``: distortion → the levels that its slider stops at.

    Raises:
        ValueError: a distortion or a level that there is not.
    """
    study.outcomes(levels)
    first, (_, stops) = next(iter(choices(study, levels).items()))
    level = stops[2 * len(stops) // 3][1]
    names = tuple(dict.fromkeys((study.baseline, study.subject, *study.networks)))[:3]
    return Explorer(study, page, State(image=parting(study, first, level), models=names, levels={first: level}), levels)


def compare(study: Study, page: Page, levels: Mapping[str, Sequence[float]]) -> Comparison:
    """All networks of a study against one slider. ``levels``: distortion → levels; the panel shows those that the records hold."""
    return Comparison(study, page, levels)
