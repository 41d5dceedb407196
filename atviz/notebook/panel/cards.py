"""The pictures of the explore panel: the image, and a column for each network."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import ipywidgets as w

from ... import saliency
from .. import figures
from ..explore import View
from .parts import SIDE, class_bars, picture, png, text

SEES, LOOKS = "what it sees", "where it looks"  # the image that a network is given, and its saliency map


class Cards(w.HBox):
    """The image and the distorted image; for each network what it sees, where it looks, the bars of its probabilities, and its share.

    ``columns`` holds the four widgets of each network. Columns are as wide as the room allows, and stand below each other where it is narrow.
    """

    def __init__(self) -> None:
        self.image, self.shown = picture(), picture()
        self.columns: dict[str, tuple[w.Image, w.Image, w.HTML, w.HTML]] = {}
        super().__init__(layout={"flex": "3 1 330px", "min_width": "0"})
        self.add_class("atviz-cards")

    def draw(self, view: View, shares: Mapping[str, str], *, scale: str, classes: Sequence[str]) -> None:
        """Show a view, and below each network the HTML of its share."""
        if list(self.columns) != list(view.maps):
            self._fill(list(view.maps))
        self.image.value, self.shown.value = png(view.image), png(view.shown)
        heats = saliency.as_shown(view.maps, scale)
        chosen = figures.likeliest(view.probability, view.label)
        for name, (seen, heat, bars, share) in self.columns.items():
            seen.value, heat.value, share.value = png(view.seen[name]), png(heats[name]), shares[name]
            bars.value = class_bars(view.probability[name], chosen, classes, view.label, figures.look(name)["color"])

    def _fill(self, names: Sequence[str]) -> None:
        self.columns = {n: self.columns.get(n) or (picture(), picture(), text().add_class("atviz-bars"), text()) for n in names}
        found = [w.VBox([_head("image", "transparent"), _label("as it is"), self.image, _label("distorted"), self.shown])]
        for name, (seen, heat, bars, share) in self.columns.items():
            found.append(w.VBox([_head(name, figures.look(name)["color"]), _label(SEES), seen, _label(LOOKS), heat, bars, share]))
        self.children = found
        self.layout.max_width = f"{(SIDE + 12) * len(found)}px"


def _head(name: str, color: str) -> w.HTML:
    return text(f'<div class="atviz-name" style="border-color:{color}">{html.escape(name)}</div>')


def _label(said: str) -> w.HTML:
    return text(f"<span class='quiet'>{said}</span>")
