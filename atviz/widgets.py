"""Panels for a notebook: sliders whose every step is drawn by `explore`, and all networks against one slider by `evaluate`'s records.

Nothing is measured or drawn here by other means than a batch run has; the panels only ask and show.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import ipywidgets as w
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from . import distortions, evaluate, explore, home, plots, recipes
from .data import stratified
from .explore import State, View

if TYPE_CHECKING:
    from .notebook import Notebook

PAUSE = 0.01  # seconds in which what the browser has sent meanwhile is looked at
OFF = "off"  # of a slider whose field of `State` is then None: a slider has no stop of value None
SIDE, THUMB = 112, 44  # pixels of a picture and of a thumbnail on the screen
CARD = 184  # pixels across for a network: three fit beside the sliders
STYLE = f"""<style>
.atviz-picture {{ image-rendering: pixelated; width: {SIDE}px; height: {SIDE}px; object-fit: contain; }}
.atviz-thumb {{ width: {THUMB}px; height: {THUMB}px; padding: 0; margin: 1px; background-size: cover; image-rendering: pixelated; }}
.atviz-thumb:focus, .atviz-thumb.mod-active {{ outline: 2px solid #E69F00; }}
.atviz-wrap {{ flex-flow: row wrap; align-items: flex-start; overflow: visible; }}
.atviz-sides {{ flex-flow: row wrap-reverse; align-items: flex-end; justify-content: flex-end; overflow: visible; }}
.atviz-text, .atviz-text table {{ color: var(--jp-ui-font-color1, #222); font-size: 12px; line-height: 1.35; }}
.atviz-text .widget-html-content {{ line-height: 1.35; }}
.atviz-text .quiet {{ color: var(--jp-ui-font-color2, #666); }}
.atviz-text .bad {{ color: var(--jp-error-color0, #b00020); font-weight: 600; }}
.atviz-text td, .atviz-text th {{ padding: 1px 6px; text-align: right; white-space: nowrap; }}
.atviz-text td:first-child {{ text-align: left; }}
.atviz-bar {{ display: grid; grid-template-columns: 78px 1fr 32px; gap: 4px; align-items: center; height: 15px; }}
.atviz-bar > span {{ overflow: hidden; text-overflow: ellipsis; white-space: nowrap; text-align: right; }}
.atviz-bar > div {{ background: color-mix(in srgb, currentColor 9%, transparent); height: 10px; }}
.atviz-bar.true > span:first-child {{ font-weight: 700; }}
.atviz-bar.true > div {{ box-shadow: 0 0 0 1.5px currentColor; }}
.atviz-name {{ font-weight: 700; font-size: 13px; border-bottom: 4px solid; padding-bottom: 1px; }}
</style>"""


def show(study: Notebook, state: State | None = None) -> Explorer:
    """The panel of a study at a state or, where Voila serves it, at that of the page's link (``?image=3&saturation=1024``).

    Raises:
        ValueError: a state that the study cannot show.
    """
    return Explorer(study, state)


class Still(w.VBox):
    """A panel that is a static picture wherever no kernel answers: on GitHub, on nbviewer, in the report."""

    def still(self) -> bytes:
        """The panel as PNG."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**options)
        return bundle | {"text/plain": f"{type(self).__name__} of atviz", "image/png": base64.b64encode(self.still()).decode()}


class Explorer(Still):
    """Image, networks and sliders; the distorted image, probabilities, maps and shares that belong to them.

    ``state`` is what the sliders say, ``draws`` counts pictures drawn. Slider moves that arrive while one is being drawn are drawn
    once, as the last of them says.
    """

    def __init__(self, study: Notebook, state: State | None = None) -> None:
        self.study, self.draws = study, 0
        self.prints = explore.fingerprints(study)
        state, problem = state or State(), ""
        explore.check(study, state)
        query = os.environ.get("QUERY_STRING", "")
        if explore.says_a_state(query):
            try:
                linked = State.of(query)
                explore.check(study, linked)
                state = linked
            except ValueError as error:
                problem = f"The link's state is left out: {error}."
        self.state = state
        self._stale, self._held = False, False
        self._task: asyncio.Task[None] | None = None
        self._measuring: asyncio.Task[None] | None = None
        self._thumb_seed = study.settings.seed
        self._build()
        self._set(state)
        self._draw(explore.explore(study, state), time.perf_counter())
        if problem:
            self._tell(problem, bad=True)
        super().__init__([self._style, self._thumbs, w.HBox([self._controls, self._view]).add_class("atviz-sides"), self._foot])

    # building

    def _build(self) -> None:
        options = choices(self.study)
        self._style, self._status, self._notice, self._link, self._files = w.HTML(STYLE), _text(), _text(), _text(), _text()
        wide, label = {"width": "320px"}, {"description_width": "92px"}
        self.fields: dict[str, Any] = {
            name: w.SelectionSlider(options=pairs, description=title, layout=wide, style=label, continuous_update=True)
            for name, (title, pairs) in options.items()
        }
        painted = [("none", ""), ("drawn, as in a sweep", "drawn"), *((str(i), str(i)) for i in range(len(self.study.stylizer.styles)))]
        self.fields["style"] = w.Dropdown(options=painted, description="style", layout=wide, style=label)
        self.fields["method"] = w.Dropdown(options=list(explore.MAPS), description="saliency", layout=wide, style=label)
        scales = [("each map's own", "map"), ("shared by all", "shared")]
        self.fields["scale"] = w.Dropdown(options=scales, description="scale", layout=wide, style=label)
        names = list(self.study.settings.models)
        self._models = [
            w.Dropdown(options=[*names, *(["–"] if i == 2 else [])], description=f"network {i + 1}", layout=wide, style=label)
            for i in range(3)
        ]
        self._number = w.BoundedIntText(0, 0, len(self.study.test_images) - 1, description="test image", layout={"width": "170px"})
        self._upload = w.FileUpload(accept="image/*", multiple=False, description="your own")
        self._redraw = w.Button(description="shuffle anew", icon="random", layout={"width": "150px", "margin": "0 0 0 96px"})
        self._measure = w.Button(description="measure now", layout={"width": "150px"})
        self._save = w.Button(description="save figure", icon="save", layout={"width": "130px"})
        self._reset = w.Button(description="reset", layout={"width": "80px"})
        self._text = w.Text(placeholder="saturation=1024.0", description="state", continuous_update=False, layout={"width": "420px"})
        order = ["saturation", "patches", "low", "high", "blur", "median", "style", "alpha", "eps", "steps", "method", "scale"]
        stack: list[w.Widget] = [self.fields[name] for name in order]
        stack.insert(2, self._redraw)
        self._controls = w.VBox([*self._models, *stack], layout={"width": "350px", "flex": "0 0 auto"})
        self._thumbs = w.HBox().add_class("atviz-wrap")
        self._fill_thumbs()
        self._pictures = {key: _picture() for key in ("image", "shown")}
        self._cards: dict[str, tuple[w.Image, w.Image, w.HTML, w.HTML]] = {}
        self._view = w.HBox(layout={"flex": "1 1 400px", "min_width": "300px"}).add_class("atviz-wrap")
        row = w.HBox([self._save, self._measure, self._reset, self._text, self._link]).add_class("atviz-wrap")
        self._foot = w.VBox([self._notice, self._status, row, self._files])
        for name, field in [*self.fields.items(), ("state", self._text)]:
            field.add_class(f"atviz-{name}")
        for field in [*self.fields.values(), *self._models, self._number]:
            field.observe(self._moved, "value")
        self._upload.observe(self._uploaded, "value")
        self._text.observe(self._typed, "value")
        self._redraw.on_click(lambda _: self._go(replace(self.state, shuffle=self.state.shuffle + 1)))
        self._reset.on_click(lambda _: self._go(State(image=self.state.image, models=self.state.models)))
        self._save.on_click(lambda _: self._saved())
        self._measure.on_click(self._measured)

    def _fill_thumbs(self, _: Any = None) -> None:
        images = self.study.test_images
        index = stratified(images.y, min(len(images), 12), self._thumb_seed).tolist()
        self._thumb_seed += 1
        rules, buttons = [], []
        for i in index:
            x, _label = explore.original(self.study, State(image=str(i)))
            small = torch.nn.functional.interpolate(x, (THUMB, THUMB), mode="area") if min(x.shape[-2:]) > THUMB else x
            data = base64.b64encode(png(small)).decode()
            rules.append(f".atviz-image-{i} {{ background-image: url(data:image/png;base64,{data}) !important; }}")
            button = (
                w.Button(tooltip=f"test image {i}: {images.classes[int(images.y[i])]}")
                .add_class("atviz-thumb")
                .add_class(f"atviz-image-{i}")
            )
            button.on_click(lambda _, i=i: self._go(replace(self.state, image=str(i))))
            buttons.append(button)
        more = w.Button(description="others", layout={"width": "70px", "height": f"{THUMB}px"})
        more.on_click(self._fill_thumbs)
        self._thumbs.children = [w.HTML(f"<style>{''.join(rules)}</style>"), *buttons, more, self._number, self._upload]

    def _fill_cards(self, names: Sequence[str]) -> None:
        kept = {name: self._cards.get(name) or (_picture(), _picture(), _text().add_class("atviz-bars"), _text()) for name in names}
        self._cards = kept
        first = [_text("<b>image</b>"), self._pictures["image"], _text("<b>distorted</b>"), self._pictures["shown"]]
        columns = [w.VBox(first, layout={"margin": "0 12px 8px 0"})]
        for name, (seen, heat, bars, share) in kept.items():
            head = _text(f'<div class="atviz-name" style="border-color:{plots.look(name)["color"]}">{html.escape(name)}</div>')
            columns.append(w.VBox([head, seen, heat, bars, share], layout={"width": f"{CARD}px", "margin": "0 12px 8px 0"}))
        self._view.children = columns

    # from the sliders to a state and back

    def _read(self) -> State:
        models = tuple(field.value for field in self._models if field.value != "–")
        values: dict[str, Any] = {name: None if field.value == OFF else field.value for name, field in self.fields.items()}
        return State(image=self.state.image, models=models, shuffle=self.state.shuffle, **values)

    def _set(self, state: State) -> None:
        """Move every control to where a state has it."""
        self._held = True
        try:
            names = explore.check(self.study, state)
            for field, name in zip(self._models, [*names, "–"][:3], strict=False):
                field.value = name
            if state.image.isdecimal():
                self._number.value = int(state.image)
            for name, field in self.fields.items():
                value = OFF if getattr(state, name) is None else getattr(state, name)
                if isinstance(field, w.SelectionSlider) and value not in [v for _, v in field.options]:
                    field.options = _with(field.options, value)  # a link may name a level between two of the slider's
                field.value = value
        finally:
            self._held = False

    def _go(self, wanted: State) -> None:
        """Show a state; where the study has no such thing, say so and stay."""
        self._tell("")
        try:
            explore.check(self.study, wanted)
        except ValueError as error:
            self._tell(str(error), bad=True)
            wanted = self.state
        self._set(wanted)
        if wanted != self.state:
            self.state = wanted
            self._ask()

    def _try(self, make: Callable[[], State]) -> None:
        try:
            wanted = make()
        except ValueError as error:
            self._set(self.state)
            self._tell(str(error), bad=True)
        else:
            self._go(wanted)

    def _moved(self, change: Any) -> None:
        if not self._held:
            image = str(self._number.value) if change["owner"] is self._number else self.state.image
            self._try(lambda: replace(self._read(), image=image))

    def _typed(self, change: Any) -> None:
        if not self._held:
            self._try(lambda: State.of(change["new"]))

    def _uploaded(self, _: Any) -> None:
        if not self._upload.value:
            return
        file = self._upload.value[0]
        self._upload.value = ()
        try:
            name, changes = explore.keep_upload(bytes(file["content"]), self.study.test_images.shape)
        except ValueError as error:
            self._tell(f"{error} ({file['name']})", bad=True)
            return
        self._go(replace(self.state, image=name))
        self._tell(f"Your image: {changes}. It has no true class; the maps are of each network's likeliest.")

    # drawing: only the newest state, and nothing of an older one once a newer is known

    def _ask(self) -> None:
        self._stale = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._stale:
            await asyncio.sleep(PAUSE)
            self._stale, began = False, time.perf_counter()
            try:
                for view in explore.refine(self.study, self.state):
                    self._draw(view, began)
                    await asyncio.sleep(PAUSE)
                    if self._stale:
                        break
            except Exception as error:  # a network without ReLUs, for Guided Backprop; no memory left: nobody else would say so
                self._tell(str(error) or type(error).__name__, bad=True)

    def _draw(self, view: View, began: float) -> None:
        state, classes = self.state, self.study.test_images.classes
        names = list(view.maps)
        if names != list(self._cards):
            self._fill_cards(names)
        self._pictures["image"].value, self._pictures["shown"].value = png(view.image), png(view.shown)
        heats = plots.as_shown(view.maps, state.scale)
        chosen = plots.likeliest(view.probability, view.label)
        outcomes = explore.recorded(self.study, state, {name: self.prints[name] for name in names})
        for name, (seen, heat, bars, share) in self._cards.items():
            seen.value, heat.value = png(view.seen[name]), png(heats[name])
            bars.value = _bars(view.probability[name], chosen, classes, view.label, plots.look(name)["color"])
            share.value = self._share(state, name, outcomes[name])
        missing = any(found is None for found in outcomes.values())
        self._measure.layout.visibility = "visible" if missing else "hidden"
        self.draws += 1
        self._held, self._text.value, self._held = True, state.query, False
        notes = [explore.caption(self.study, state, view)]
        if view.outside:
            notes.append(
                f"{100 * view.outside:.0f} % of the distorted image's pixels lie outside [0, 1], and are shown and mapped clipped."
            )
        drawn = f"data-draws='{self.draws}' data-state='{html.escape(state.query)}'"
        took = f"<span class='quiet' {drawn}>{1000 * (time.perf_counter() - began):.0f} ms</span>"
        self._status.value = f"{html.escape(' '.join(notes))} {took}"
        self._link.value = f'<a href="{html.escape(link(state))}" target="_blank">link to this state</a>' if link(state) else ""

    def _share(self, state: State, name: str, right: np.ndarray | None) -> str:
        n = len(self.study.test_images)
        if right is not None:
            return f"<b>{100 * right.mean():.1f} %</b> of {n:,} test images right at this setting"
        near = nearest(self.study, state, self.prints[name], self.fields)
        return f"<span class='quiet'>share of test images: not measured here{f'; {near}' if near else ''}</span>"

    def _tell(self, text: str, *, bad: bool = False) -> None:
        self._notice.value = f"<span class='bad'>{html.escape(text[:1].upper() + text[1:])}</span>" if bad else html.escape(text)

    # the buttons

    def _measured(self, _: Any) -> None:
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.get_running_loop().create_task(self._measure_all(self.state))

    async def _measure_all(self, state: State) -> None:
        self._measure.description, self._measure.disabled = "measuring …", True
        try:
            copies = explore.copied(self.study, state)  # here, where no map is being drawn
            await asyncio.to_thread(explore.measure, self.study, state, copies)  # the sliders go on
        except Exception as error:  # such as a disk that is full: in a thread nobody else would say so
            self._tell(f"Nothing was measured: {error}", bad=True)
        finally:
            self._measure.description, self._measure.disabled = "measure now", False
        self._ask()

    def _saved(self) -> None:
        figure = explore.figure(self.study, self.state)
        caption = explore.caption(self.study, self.state, explore.explore(self.study, self.state))
        files = {kind: plots.rendered(figure, kind, caption=caption) for kind in ("svg", "png")}
        files["csv"] = pd.DataFrame([explore.row(self.study, self.state)]).to_csv(index=False).encode()
        folder, name = home() / "results" / "explore", f"explore-{file_name(self.state)}"
        kept = "also in results/explore"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for kind, content in files.items():
                (folder / f"{name}.{kind}").write_bytes(content)
        except OSError as error:
            kept = f"not in results/explore: {html.escape(str(error))}"
        kinds = {"svg": "image/svg+xml", "png": "image/png", "csv": "text/csv"}
        links = " · ".join(
            f'<a download="{name}.{kind}" href="data:{kinds[kind]};base64,{base64.b64encode(content).decode()}">{kind.upper()}</a>'
            for kind, content in files.items()
        )
        code = html.escape(explore.code(self.study, self.state))
        self._files.value = f"{links} ({kept})<pre style='font-size:11px;line-height:1.3'>{code}</pre>"

    def still(self) -> bytes:
        figure = explore.figure(self.study, self.state)
        caption = explore.caption(self.study, self.state, explore.explore(self.study, self.state))
        return bytes(self.study.figure(figure, "explore", caption).data)


def link(state: State) -> str:
    """The address of a page in this state: of the Voila page itself or, in the JupyterLab that `atviz explore` opened, of the page that its
    server makes of the notebook; "" where no page is served."""
    page = "" if os.environ.get("VOILA_REQUEST_URL") else os.environ.get("ATVIZ_PAGE")
    return "" if page is None else f"{page}?{state.query or 'image=0'}"


def file_name(state: State) -> str:
    """A name for the files of a state: the same for the same state."""
    return hashlib.sha256(state.query.encode()).hexdigest()[:8]


def choices(study: Notebook) -> dict[str, tuple[str, list[tuple[str, Any]]]]:
    """The sliders of a study: field of `State` → title, and the labels and values of its stops."""
    _, h, width = study.test_images.shape
    radii = [r for r in (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0) if r < min(h, width) / 2]
    eps = recipes.eval_eps(study.settings.dataset)
    saturation = [2 ** (i / 2) for i in range(-4, 21)]
    return {
        "saturation": ("saturation", [("2 (original)" if v == 2 else f"{v:.3g}" if v < 1000 else f"{v:g}", v) for v in saturation]),
        "patches": ("patches k", [("1 (whole)", 1), *((f"{k} × {k}", k) for k in distortions.patch_counts(h, width, max(h, width)))]),
        "low": ("low-pass", [("off", OFF), *((f"r ≤ {r:g}", r) for r in reversed(radii))]),
        "high": ("high-pass", [("off", OFF), *((f"r > {r:g}", r) for r in [0.0, *radii])]),
        "blur": ("blur σ", [("0", 0.0), *((f"{i / 4:g}", i / 4) for i in range(1, 21))]),
        "median": ("median", [(f"{i} ×", i) for i in range(6)]),
        "alpha": ("style α", [(f"{i / 20:g}", i / 20) for i in range(21)]),
        "eps": ("attack ε", [("off", 0.0), *((recipes.eps_text(eps * f), eps * f) for f in (0.125, 0.25, 0.5, 0.75, 1, 1.5, 2, 3))]),
        "steps": ("attack steps", [(str(i), i) for i in (1, 2, 5, 10, 20, 40)]),
    }  # fmt: skip


def _with(options: Sequence[tuple[str, Any]], value: Any) -> list[tuple[str, Any]]:
    """A slider's stops and one more, in its place."""
    stops = [*options, (f"{value:g}", value)]
    off = [stop for stop in stops if stop[1] == OFF]
    rest = sorted((stop for stop in stops if stop[1] != OFF), key=lambda stop: stop[1])
    known = [v for _, v in options if v != OFF]
    return off + (rest if known == sorted(known) else rest[::-1])


def nearest(study: Notebook, state: State, model: str, fields: Mapping[str, Any]) -> str:
    """The nearest stop of the one slider that is moved at which a network was measured, in words; "" where there is none."""
    moved = explore.active(state)
    field = {"saturate": "saturation", "patch_shuffle": "patches", "low_pass": "low", "high_pass": "high", "gaussian_blur": "blur",
             "median_filter": "median"}.get(moved[0][0], "") if len(moved) == 1 and not state.eps else "eps" if state.eps and not moved else ""  # fmt: skip
    if not field:
        return ""
    stops = list(fields[field].options)
    at = [value for _, value in stops].index(getattr(state, field))  # it is moved, and not off
    for _, label, value in sorted(
        (abs(i - at), label, value) for i, (label, value) in enumerate(stops) if i != at and value not in (OFF, 0.0)
    ):
        right = explore.recorded(study, replace(state, **{field: value}), {"": model})[""]
        if right is not None:
            return f"{100 * right.mean():.1f} % at {label.replace('r ', '')}"
    return ""


def _bars(probability: np.ndarray, chosen: Sequence[int], classes: Sequence[str], label: int | None, color: str) -> str:
    rows = [
        f'<div class="atviz-bar{" true" if c == label else ""}" title="{html.escape(classes[c])}: {100 * probability[c]:.2f} %">'
        f"<span>{'✓ ' if c == label else ''}{html.escape(classes[c])}</span>"
        f'<div><div style="width:{100 * probability[c]:.2f}%;height:100%;background:{color}"></div></div>'
        f"<span>{100 * probability[c]:.0f} %</span></div>"
        for c in chosen
    ]
    return "".join(rows)


def png(image: Tensor) -> bytes:
    """A picture (1, C, H, W), clipped to [0, 1], as PNG."""
    pixels = (image[0].detach().float().clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def compare(study: Notebook, levels: Mapping[str, Sequence[float]]) -> Comparison:
    """All networks of a study against one slider: curves, the slider's level marked, and a table that any column sorts.

    ``levels``: distortion → levels, as for `evaluate.outcomes`; of each, what the records hold is shown.
    """
    return Comparison(study, levels)


class Comparison(Still):
    """See `compare`. ``rows`` are what is drawn of the chosen distortion, as `evaluate.table`."""

    def __init__(self, study: Notebook, levels: Mapping[str, Sequence[float]]) -> None:
        self.study, self.levels = study, {name: sorted(map(float, values)) for name, values in levels.items()}
        prints = explore.fingerprints(study)
        self._known: dict[str, pd.DataFrame] = {}
        for name, values in self.levels.items():
            found: dict[tuple[str, str, float], np.ndarray | None] = {
                (m, name, v): evaluate.recorded(p, study.test_images, study.store, name, v, seed=study.settings.seed)
                for v in values
                for m, p in prints.items()
            }
            clean = {m: evaluate.recorded(p, study.test_images, study.store) for m, p in prints.items()}
            known = {key: right for key, right in found.items() if right is not None and clean[key[0]] is not None}
            self._known[name] = evaluate.table(evaluate.Outcomes({m: c for m, c in clean.items() if c is not None}, known))
        wide, label = {"width": "360px"}, {"description_width": "80px"}
        titles = [(distortions.DISTORTIONS[name][3], name) for name in self.levels]
        self._which = w.Dropdown(options=titles, description="distortion", layout=wide, style=label)
        self._level = w.SelectionSlider(options=[0.0], description="level", layout=wide, style=label)
        self._level.add_class("atviz-level")
        self._plot, self._table = _text(), _text().add_class("atviz-everything")
        self._by, self._down = COLUMNS[-1], True
        self._heads = [w.Button(layout={"width": f"{width}px"}) for width in WIDTHS]
        for column, head in zip(COLUMNS, self._heads, strict=True):
            head.on_click(lambda _, column=column: self._sort(column))
        self._which.observe(lambda _: self._choose(), "value")
        self._level.observe(lambda _: self._show(), "value")
        self._choose()
        table = w.VBox([w.HBox(self._heads), self._table])
        super().__init__(
            [w.HTML(STYLE), w.HBox([self._which, self._level]).add_class("atviz-wrap"), w.HBox([self._plot, table]).add_class("atviz-wrap")]
        )

    @property
    def rows(self) -> pd.DataFrame:
        return self._known[self._which.value]

    def _figure(self, mark: float | None = None) -> Any:
        name = self._which.value
        return plots.distortion_curves(
            self.rows, xlabel=distortions.DISTORTIONS[name][3], log=name in ("saturate", "patch_shuffle"), original=2 if name == "saturate" else None,
            chance=1 / len(self.study.test_images.classes), mark=mark,
        )  # fmt: skip

    def _choose(self) -> None:
        name = self._which.value
        measured = sorted(set(self.rows.level)) if len(self.rows) else []
        if not measured:
            self._plot.value = (
                f"<span class='quiet'>No network was measured under this yet; <code>study.outcomes({{'{name}': …}})</code> does it.</span>"
            )
            self._table.value = ""
            self._drawn = None
            return
        figure = self._figure()
        ax, size = figure.axes[0], figure.get_size_inches() * figure.dpi
        box = ax.get_window_extent()
        self._drawn = (
            ax,
            size,
            1 - box.y1 / size[1],
            box.height / size[1],
            base64.b64encode(plots.rendered(figure, "png", dpi=160)).decode(),
        )
        self._level.options = [(f"{v:g}", v) for v in measured]
        self._level.value = measured[-1]
        self._show()

    def _show(self) -> None:
        if self._drawn is None or self._level.value is None:
            return
        ax, size, top, height, picture = self._drawn
        across = ax.transData.transform((self._level.value, 0))[0] / size[0]
        line = f"position:absolute;left:{100 * across:.3f}%;top:{100 * top:.3f}%;height:{100 * height:.3f}%;width:0;border-left:2px solid {plots.MARK}"
        self._plot.value = (
            f'<div style="position:relative;width:560px;max-width:100%"><img style="width:100%;display:block" src="data:image/png;base64,{picture}">'
            f'<div class="atviz-mark" style="{line}"></div></div>'
        )
        table = self.table()
        for column, head in zip(COLUMNS, self._heads, strict=True):
            head.description = column + ((" ▼" if self._down else " ▲") if column == self._by else "")
        cells = "".join(
            f"<tr><td><span style='color:{plots.look(row['network'])['color']}'>■</span> {html.escape(row['network'])}</td>"
            + "".join(f"<td>{100 * row[column]:.1f}</td>" if row[column] == row[column] else "<td>–</td>" for column in COLUMNS[1:])
            + "</tr>"
            for row in table.to_dict("records")
        )
        columns = "".join(f"<col style='width:{width + 4}px'>" for width in WIDTHS)
        self._table.value = f"<table style='table-layout:fixed'>{columns}{cells}</table>"

    def _sort(self, column: str) -> None:
        self._by, self._down = column, not self._down if column == self._by else column != COLUMNS[0]
        self._show()

    def table(self) -> pd.DataFrame:
        """A row a network, sorted as the panel is: accuracy (shares) on clean images and under attack, from its card; at the slider's level."""
        if self._drawn is None:
            return pd.DataFrame(columns=COLUMNS)
        at = self.rows[self.rows.level == self._level.value].set_index("model")
        names = [name for name in self.study.settings.models if name in at.index]
        metrics = {name: self.study.cards[name]["metrics"] for name in names}
        values = [
            [name, metrics[name]["clean"], metrics[name].get("robust", float("nan")), at.top1[name], at.acc_on_correct[name]]
            for name in names
        ]
        return pd.DataFrame(values, columns=COLUMNS).sort_values(self._by, ascending=not self._down, kind="stable")

    def still(self) -> bytes:
        name, level = self._which.value, self._level.value
        if self._drawn is None:
            return plots.rendered(plots.words("No network was measured under this yet."), "png")
        caption = f"Accuracy on correctly classified images of all networks, with 95 % bands; the line points at {level:g}."
        return bytes(self.study.figure(self._figure(mark=level), f"all-{name.replace('_', '-')}", caption).data)


COLUMNS = ["network", "clean", "attacked", "at level", "of its correct"]
WIDTHS = [130, 84, 96, 96, 118]


def _picture() -> w.Image:
    return w.Image(format="png").add_class("atviz-picture")


def _text(value: str = "") -> w.HTML:
    return w.HTML(value).add_class("atviz-text")
