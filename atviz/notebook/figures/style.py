"""The style of every figure: colors, markers, legends, and how a figure becomes a file."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

STYLE: dict[str, Any] = {
    "font.size": 10, "axes.titlesize": 10.5, "axes.labelsize": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#e6e6e6", "grid.linewidth": 0.8, "axes.axisbelow": True, "axes.edgecolor": "#555555",
    "legend.frameon": False, "lines.linewidth": 1.8, "lines.markersize": 5.5, "figure.facecolor": "white", "image.interpolation": "nearest",
    "text.parse_math": False,  # a class may be named a$b$
    "svg.hashsalt": "atviz", "figure.constrained_layout.use": True,
}  # fmt: skip
SETTINGS: Any = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"} | STYLE

MARK = "#333333"  # the line that points at a level, and the intervals of bars
LINE: dict[str, Any] = {"color": "#999999", "linewidth": 1}  # lines of reference
NOTE: dict[str, Any] = {"fontsize": 9, "color": "#555555"}  # what a figure says of its panels

GRAY = "#777777"  # of intervals that hold zero
ALONE = "One network: there is no other to compare it with."

# color, marker, line of each kind of training: Okabe and Ito's palette, safe for color-blind readers
KINDS = {
    "normal": ("#0072B2", "o", "-"), "underfit": ("#777777", "s", "--"), "pgd-inf": ("#D55E00", "^", "-"), "pgd-l2": ("#009E73", "D", "-"),
    "fgsm": ("#CC79A7", "v", "-."), "spatial": ("#E69F00", "P", ":"), "shape-only": ("#000000", "*", "-"), "texture-only": ("#000000", "x", ":"),
    "untrained": ("#000000", "X", "-"), "STD": ("#0072B2", "o", ":"), "STD+STD": ("#0072B2", "s", "-"), "ADV": ("#D55E00", "^", ":"),
    "ADV+ADV": ("#D55E00", "v", "-"), "STD+ADV": ("#009E73", "D", "-"), "RND+RND": ("#777777", "x", "--"),
}  # fmt: skip
HATCHES = {"underfit": "..", "pgd-inf": "//", "pgd-l2": "\\\\", "fgsm": "xx", "spatial": "++"}  # of bars
RANGE = {"pgd-inf": (1 / 255, 0.1), "fgsm": (1 / 255, 0.1), "pgd-l2": (0.25, 1.6)}  # the eps of the palest and of the darkest shade
FILLS = ("left", "full", "none", "bottom")  # of markers, in turn: eps an octave apart (L2: 0.4 apart) differ in gray

# other networks: the palette's sky blue, then Tol's muted colors; 10 colors and 7 markers make 70 different pairs
OTHER_COLORS = ("#56B4E9", "#882255", "#999933", "#332288", "#CC6677", "#117733", "#AA4499", "#DDCC77", "#661100", "#44AA99")
OTHER_MARKERS = ("X", "<", "d", ">", "p", "h", "8")
OTHER_LINES = ("-", "--", "-.", ":")
_others: dict[str, int] = {}  # name of another network -> its turn


def kind_of(model: str) -> tuple[str, str]:
    """The kind of training that a network's name says, and its eps ("" if the name holds none)."""
    match = re.fullmatch(r"(.*?)-(\d+(?:\.\d+)?)", model)
    return (match[1], match[2]) if match and match[1] in KINDS else (model, "")


def look(model: str) -> dict[str, Any]:
    """Color, marker, filling of the marker, and line style of a network: the same in every figure, and distinct in gray.

    The name of a recipe decides its look; a smaller eps is paler. Any other name gets the next look of a list when it is first asked
    for, and keeps that look as long as Python runs: the first 70 names differ in color or in marker, the first 10 in color.
    """
    kind, text = kind_of(model)
    if kind not in KINDS:
        turn = _others.setdefault(model, len(_others))
        color, marker, line = (each[turn % len(each)] for each in (OTHER_COLORS, OTHER_MARKERS, OTHER_LINES))
        fill = ("full", "none", "left", "bottom")[turn // len(OTHER_MARKERS) % 4]
    else:
        (color, marker, line), fill = KINDS[kind], "full"
    if text and kind in RANGE:
        eps = float(text) / ((10 if kind == "pgd-l2" else 255) if "." not in text else 1)
        low, high = RANGE[kind]
        shade = np.log(eps / low) / np.log(high / low)  # from 0, mixed with white, to 1, mixed with black
        red, green, blue = (float(np.interp(shade, (0, 0.5, 1), (0.4 * c + 0.6, c, 0.7 * c))) for c in to_rgb(color))
        color = to_hex((red, green, blue))
        fill = FILLS[round(eps / 0.4 if kind == "pgd-l2" else np.log2(eps / low)) % len(FILLS)]
    return {"color": color, "marker": marker, "linestyle": line, "fillstyle": fill, "markerfacecoloralt": "white"}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in `STYLE`, whatever the user's own settings are."""

    @wraps(draw)
    def inner(*args: Any, **kwargs: Any) -> Figure:
        with mpl.rc_context(SETTINGS), warnings.catch_warnings():
            for old in ("The copy keyword is deprecated", "vert: bool was deprecated"):  # seaborn 0.13's calls of pandas 3, matplotlib 3.11
                warnings.filterwarnings("ignore", old)
            figure = draw(*args, **kwargs)
            figure.canvas.draw()  # computes the layout while this style holds
            return figure

    return inner


def legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """What is drawn, above the figure, in as many columns as its width holds."""
    widest = 0.08 * max((len(str(handle.get_label())) for handle in handles), default=1) + 0.65  # inches
    columns = max(1, min(7, len(handles), int(figure.get_figwidth() / widest)))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)


@styled
def words(text: str) -> Figure:
    """A sentence where there is nothing to draw."""
    figure = Figure(figsize=(6.4, 0.8))
    figure.text(0.5, 0.5, text, ha="center", va="center", color="#555555")
    return figure


def rendered(figure: Figure, kind: str, *, caption: str = "", dpi: int = 200) -> bytes:
    """A figure as ``png`` or ``svg``, the same bytes each time, with its caption inside the file."""
    buffer = BytesIO()
    metadata = {"Description": caption, **({"Software": None} if kind == "png" else {"Date": None, "Creator": None})}
    with mpl.rc_context(SETTINGS):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()
