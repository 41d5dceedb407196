"""The pictures of the explore panel: the image, and a column for each network."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import ipywidgets as w

from ... import saliency
from .. import figures
from ..explore import View
from .parts import CARD, class_bars, picture, png, text

SPACE = "0 12px 8px 0"


class Cards(w.HBox):
    """The image and the distorted image; for each network the image that it is given, its map, the bars of its probabilities, and its share.

    ``columns`` holds the four widgets of each network.
    """

    def __init__(self) -> None:
        self.image, self.shown = picture(), picture()
        self.columns: dict[str, tuple[w.Image, w.Image, w.HTML, w.HTML]] = {}
        super().__init__(layout={"flex": "1 1 400px", "min_width": "300px"})
        self.add_class("atviz-wrap")

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
        found = [w.VBox([text("<b>image</b>"), self.image, text("<b>distorted</b>"), self.shown], layout={"margin": SPACE})]
        for name, parts in self.columns.items():
            head = text(f'<div class="atviz-name" style="border-color:{figures.look(name)["color"]}">{html.escape(name)}</div>')
            found.append(w.VBox([head, *parts], layout={"width": f"{CARD}px", "margin": SPACE}))
        self.children = found
