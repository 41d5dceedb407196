"""The row of the explore panel that an image is chosen from."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import ipywidgets as w
import torch

from ...data import stratified
from ...evidence import Study
from .. import explore
from ..explore import State
from .parts import THUMB, png

COUNT = 12


class Thumbnails(w.HBox):
    """Test images, of as many classes as possible; a click calls ``choose`` with the number of the image. ``others`` shows other images.

    ``more`` are widgets at the end of the row.
    """

    def __init__(self, study: Study, choose: Callable[[str], None], more: list[w.Widget]) -> None:
        self.study, self.choose, self.more, self.seed = study, choose, more, study.seed
        self.others = w.Button(description="others", tooltip="show other test images", layout={"width": "70px", "height": f"{THUMB}px"})
        self.others.on_click(self._fill)
        super().__init__()
        self.add_class("atviz-wrap")
        self._fill()

    def _fill(self, _: Any = None) -> None:
        images, rules, buttons = self.study.images, [], []
        for i in stratified(images.y, min(len(images), COUNT), self.seed).tolist():
            x, _label = explore.original(self.study, State(image=str(i)))
            small = torch.nn.functional.interpolate(x, (THUMB, THUMB), mode="area") if min(x.shape[-2:]) > THUMB else x
            data = base64.b64encode(png(small)).decode()
            rules.append(f".atviz-image-{i} {{ background-image: url(data:image/png;base64,{data}) !important; }}")
            button = w.Button(tooltip=f"test image {i}: {self.study.class_names[int(images.y[i])]}")
            button.add_class("atviz-thumb").add_class(f"atviz-image-{i}")
            button.on_click(lambda _, i=i: self.choose(str(i)))
            buttons.append(button)
        self.seed += 1
        self.children = [w.HTML(f"<style>{''.join(rules)}</style>"), *buttons, self.others, *self.more]
