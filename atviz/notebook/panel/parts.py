"""Parts of the panels: their style sheet, pictures, bars and texts, and the picture that stands for a panel without a kernel."""

from __future__ import annotations

import base64
import html
from abc import abstractmethod
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import ipywidgets as w
import numpy as np
from PIL import Image
from torch import Tensor

SIDE, LEAST, THUMB = 224, 120, 44  # pixels across on the screen: of a picture where there is room, of a narrow column, of a thumbnail
# a page of Voila follows the reader's system: what JupyterLab's dark theme says of the colors that such a page has
DARK = {
    "layout-color0": "#111111", "layout-color1": "#212121", "layout-color2": "#424242", "layout-color3": "#616161", "border-color0": "#616161",
    "border-color1": "#616161", "border-color2": "#424242", "border-color3": "#212121", "ui-font-color0": "#ffffff", "ui-font-color1": "#dedede",
    "ui-font-color2": "#a8a8a8", "content-font-color0": "#ffffff", "content-font-color1": "#dedede", "content-font-color2": "#a8a8a8",
    "content-link-color": "#64b5f6", "error-color0": "#ef9a9a", "rendermime-table-row-background": "#212121",
    "rendermime-table-row-hover-background": "#2b3a4a", "input-background": "#212121", "input-border-color": "#616161",
    "widgets-input-background-color": "#212121", "widgets-color": "#dedede", "widgets-label-color": "#dedede", "widgets-readout-color": "#dedede",
    "widgets-input-color": "#dedede", "widgets-border-color": "#616161", "widgets-input-border-color": "#616161",
}  # fmt: skip
STYLE = f"""<style>
.atviz-picture {{ image-rendering: pixelated; width: 100%; max-width: {SIDE}px; aspect-ratio: 1; object-fit: contain; }}
.atviz-thumb {{ width: {THUMB}px; height: {THUMB}px; padding: 0; margin: 1px; background-size: cover; image-rendering: pixelated; }}
.atviz-thumb:focus, .atviz-thumb.mod-active {{ outline: 2px solid #E69F00; }}
.atviz-wrap {{ flex-flow: row wrap; align-items: flex-start; overflow: visible; }}
.atviz-sides {{ flex-flow: row wrap-reverse; align-items: flex-end; gap: 12px; overflow: visible; }}
.widget-box.atviz-cards {{ display: grid; grid-template-columns: repeat(auto-fit, minmax({LEAST}px, 1fr)); gap: 8px 12px; overflow: visible; }}
.atviz-cards > * {{ min-width: 0; overflow: visible; }}
.atviz-text, .atviz-text table {{ color: var(--jp-ui-font-color1, #222); font-size: 12px; line-height: 1.35; }}
.atviz-text .widget-html-content {{ line-height: 1.35; }}
.atviz-text .quiet {{ color: var(--jp-ui-font-color2, #666); }}
.atviz-text .bad {{ color: var(--jp-error-color0, #b00020); font-weight: 600; }}
.atviz-text td, .atviz-text th {{ padding: 1px 6px; text-align: right; white-space: nowrap; }}
.atviz-text td:first-child {{ text-align: left; }}
.atviz-bar {{ display: grid; grid-template-columns: min(80px, 48%) 1fr 42px; gap: 4px; align-items: center; height: 15px; }}
.atviz-bar > span {{ overflow: hidden; text-overflow: ellipsis; white-space: nowrap; text-align: right; }}
.atviz-bar > div {{ background: color-mix(in srgb, currentColor 9%, transparent); height: 10px; }}
.atviz-bar.true > span:first-child {{ font-weight: 700; }}
.atviz-bar.true > div {{ box-shadow: 0 0 0 1.5px currentColor; }}
.atviz-name {{ font-weight: 700; font-size: 13px; border-bottom: 4px solid; padding-bottom: 1px; }}
body[data-voila] .jp-MarkdownCell :is(p:has(> code), pre) {{ display: none; }} /* whoever reads a served page has no terminal */
@media (prefers-color-scheme: dark) {{ :root:has(body[data-voila].theme-light) {{
{" ".join(f"--jp-{name}: {color};" for name, color in DARK.items())}
}} }}
</style>"""


class Still(w.VBox):
    """A panel that is a static picture where there is no kernel: on GitHub, on nbviewer, in the report."""

    @abstractmethod
    def still(self) -> bytes:
        """The panel as PNG."""

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**options)
        return bundle | {"text/plain": f"{type(self).__name__} of atviz", "image/png": base64.b64encode(self.still()).decode()}


def png(image: Tensor) -> bytes:
    """A picture (1, C, H, W), clipped to [0, 1], as PNG."""
    pixels = (image[0].detach().float().clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def class_bars(probability: np.ndarray, chosen: Sequence[int], classes: Sequence[str], label: int | None, color: str) -> str:
    """HTML: a bar for each of the ``chosen`` classes, with its probability; the true class is marked with a tick."""
    rows = [
        f'<div class="atviz-bar{" true" if c == label else ""}" title="{html.escape(classes[c])}: {100 * probability[c]:.2f} %">'
        f"<span>{'✓ ' if c == label else ''}{html.escape(classes[c])}</span>"
        f'<div><div style="width:{100 * probability[c]:.2f}%;height:100%;background:{color}"></div></div>'
        f"<span>{100 * probability[c]:.0f} %</span></div>"
        for c in chosen
    ]
    return "".join(rows)


def picture() -> w.Image:
    return w.Image(format="png").add_class("atviz-picture")


def text(value: str = "") -> w.HTML:
    return w.HTML(value).add_class("atviz-text")
