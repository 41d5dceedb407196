"""The explore panel: image, networks and sliders; the distorted image, probabilities, maps and shares that belong to them.

Everything is measured and drawn by the functions of a batch run; the panel only asks and shows.
"""

from __future__ import annotations

import asyncio
import html
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from threading import RLock
from typing import Any

import ipywidgets as w

from ...evidence import Study
from .. import explore
from ..explore import State, View
from ..page import Page
from .cards import Cards
from .parts import STYLE, Still, text
from .saving import link, saved
from .sliders import at_stops, choices, moved, nearest, value_of, with_stop
from .thumbnails import Thumbnails

PAUSE = 0.01  # seconds in which messages of the browser are read
WIDE, LABEL = {"width": "auto"}, {"description_width": "112px"}


class Explorer(Still):
    """Image, networks and sliders; the distorted image, probabilities, maps and shares that belong to them.

    ``state`` is what the sliders say, ``draws`` counts pictures drawn. While a picture is being drawn, moves of the sliders are
    collected; then only the last one is drawn.

    A kernel tells one move in its main thread and the next in another, and both may come while a picture is being put into its place: a lock
    keeps what the panel itself sets apart from what a reader moves, and all drawing is done by the loop that the panel was made on.
    """

    def __init__(self, study: Study, page: Page, state: State | None = None, levels: Mapping[str, Sequence[float]] | None = None) -> None:
        """With ``levels``, distortion → stops, the panel has these sliders alone."""
        self.study, self.page, self.draws, self.levels = study, page, 0, levels
        self.prints = explore.fingerprints(study)
        state, problem = state or State(), ""
        explore.check(study, state)
        self._lock, self._stale, self._held = RLock(), False, False
        self._task: asyncio.Task[None] | None = None
        self._measuring: Future[None] | None = None
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:  # no kernel
            self._loop = None
        self._build()
        query = os.environ.get("QUERY_STRING", "")
        if explore.says_a_state(query):
            try:
                linked = at_stops(State.of(query), self.sliders)
                explore.check(study, linked)
                state = linked
            except ValueError as error:
                problem = f"The state in the link is ignored: {error}."
        self.state = state
        self._set(state)
        self._draw(explore.explore(study, state), time.perf_counter(), state)
        if problem:
            self._tell(problem, bad=True)
        sides = w.HBox([self._controls, self.cards]).add_class("atviz-sides") if levels is None else w.VBox([self._controls, self.cards])
        super().__init__([w.HTML(STYLE), self._thumbs, sides, self._foot])

    # building

    def _build(self) -> None:
        self._status, self._notice, self._link, self._files = text(), text(), text(), text()
        self.cards = Cards()
        self.sliders: dict[str, w.SelectionSlider] = {
            name: w.SelectionSlider(options=stops, description=title, layout=WIDE, style=LABEL, continuous_update=True)
            for name, (title, stops) in choices(self.study, self.levels).items()
        }
        painted = [("drawn, as in a sweep", "drawn"), *((str(i), str(i)) for i in range(len(self.study.stylizer.styles)))]
        scales = [("each map's own", "map"), ("shared by all", "shared")]
        self.chosen = {
            "style": _dropdown("style", painted), "method": _dropdown("saliency", list(explore.MAPS)), "scale": _dropdown("scale", scales),
        }  # fmt: skip
        names = list(self.study.networks)
        self._models = [_dropdown(f"network {i + 1}", [*names, *(["–"] if i else [])]) for i in range(3 if names[1:] else 1)]
        self._number = w.BoundedIntText(0, 0, len(self.study.images) - 1, description="test image", layout={"width": "170px"})
        self._upload = w.FileUpload(accept="image/*", multiple=False, description="your own")
        self._thumbs = Thumbnails(self.study, lambda image: self._go(replace(self.state, image=image)), [self._number, self._upload])
        self._redraw = w.Button(description="draw anew", icon="random", tooltip="draw the random distortions again: modes and patches",
                                layout={"width": "150px", "margin": "2px 2px 2px 116px"})  # fmt: skip
        self._measure = w.Button(description="measure now", layout={"width": "150px"})
        self._save = w.Button(description="save figure", icon="save", layout={"width": "130px"})
        self._reset = w.Button(description="reset", layout={"width": "80px"})
        self._text = w.Text(placeholder="saturate=1024", description="state", continuous_update=False, layout={"width": "420px"})
        after = {"stylize": [self.chosen["style"]], "patch_shuffle": [self._redraw]}
        stack = [widget for name, slider in self.sliders.items() for widget in (slider, *after.get(name, []))]
        if self.levels is None:
            stack = [*self._models, *stack, self.chosen["method"], self.chosen["scale"]]
            beside = {"flex": "1 1 290px", "max_width": "350px"}
        else:  # above the pictures
            beside = {"flex": "0 0 auto", "max_width": "600px"}
            self.cards.layout.flex = "0 0 auto"
        self._controls = w.VBox(stack, layout=beside)
        buttons = [self._save, self._measure, self._reset]
        row = w.HBox([*buttons, *([self._text, self._link] if self.levels is None else [])]).add_class("atviz-wrap")
        self._foot = w.VBox([self._notice, self._status, row, self._files])
        for name, field in [*self.sliders.items(), *self.chosen.items(), ("state", self._text)]:
            field.add_class(f"atviz-{name}")
        for field in [*self.sliders.values(), *self.chosen.values(), *self._models, self._number]:
            field.observe(self._moved, "value")
        self._upload.observe(self._uploaded, "value")
        self._text.observe(self._typed, "value")
        self._redraw.on_click(lambda _: self._go(replace(self.state, redraw=self.state.redraw + 1)))
        self._reset.on_click(lambda _: self._go(State(image=self.state.image, models=self.state.models)))
        self._save.on_click(lambda _: self._saved())
        self._measure.on_click(self._measured)

    # from the sliders to a state and back

    def _read(self) -> State:
        models = tuple(field.value for field in self._models if field.value != "–")
        chosen = {name: field.value for name, field in self.chosen.items()}
        state = State(image=self.state.image, models=models, redraw=self.state.redraw, **chosen)
        return moved(state, {name: slider.value for name, slider in self.sliders.items()})

    def _set(self, state: State) -> None:
        """Move every control to where a state has it."""
        self._held = True
        try:
            names = explore.check(self.study, state)
            for field, name in zip(self._models, [*names, "–", "–"][:3], strict=False):
                field.value = name
            if state.image.isdecimal():
                self._number.value = int(state.image)
            for name, slider in self.sliders.items():
                value = value_of(state, name)
                if value not in [v for _, v in slider.options]:
                    slider.options = with_stop(slider.options, value)  # a link may name a level between two stops
                slider.value = value
            for name, field in self.chosen.items():
                field.value = getattr(state, name)
        finally:
            self._held = False

    def _go(self, wanted: State) -> None:
        """Show a state. If the study cannot show it, say why, and stay."""
        with self._lock:
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
        """Show the state that a reader asks for; what the panel sets itself asks for nothing."""
        with self._lock:
            if self._held:
                return
            try:
                wanted = make()
            except ValueError as error:
                self._set(self.state)
                self._tell(str(error), bad=True)
            else:
                self._go(wanted)

    def _moved(self, change: Any) -> None:
        self._try(lambda: replace(self._read(), image=str(self._number.value) if change["owner"] is self._number else self.state.image))

    def _typed(self, change: Any) -> None:
        self._try(lambda: at_stops(State.of(change["new"]), self.sliders))

    def _uploaded(self, _: Any) -> None:
        if not self._upload.value:
            return
        file = self._upload.value[0]
        self._upload.value = ()
        try:
            name, changes = explore.keep_upload(bytes(file["content"]), self.study.images.shape)
        except ValueError as error:
            self._tell(f"{error} ({file['name']})", bad=True)
            return
        self._go(replace(self.state, image=name))
        self._tell(f"Your image: {changes}. It has no true class; each map is of the network's likeliest class.")

    # drawing: when a newer state is known, the older one is drawn no further

    def _ask(self) -> None:
        if self._loop:
            self._loop.call_soon_threadsafe(self._begin, self._loop)
        else:
            self._draw(explore.explore(self.study, self.state), time.perf_counter(), self.state)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._stale = True
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._work())

    async def _work(self) -> None:
        while self._stale:
            await asyncio.sleep(PAUSE)
            self._stale, began, state = False, time.perf_counter(), self.state
            try:
                for view in explore.refine(self.study, state):
                    self._draw(view, began, state)
                    await asyncio.sleep(PAUSE)
                    if self._stale:
                        break
            except Exception as error:  # such as no memory left; an error in a task is shown nowhere else
                self._tell(str(error) or type(error).__name__, bad=True)

    def _draw(self, view: View, began: float, state: State) -> None:
        outcomes = explore.recorded(self.study, state, {name: self.prints[name] for name in view.maps})
        shares = {name: self._share(state, name, right) for name, right in outcomes.items()}
        missing = any(right is None for right in outcomes.values())
        notes = [explore.caption(self.study, state, view)]
        if view.outside:
            notes += [f"{100 * view.outside:.0f} % of the distorted image's pixels lie outside [0, 1]; they are shown and mapped clipped."]
        address = html.escape(link(state))
        with self._lock:
            self.cards.draw(view, shares, scale=state.scale, classes=self.study.class_names)
            self._measure.layout.visibility = "visible" if missing else "hidden"
            self.draws += 1
            self._held, self._text.value, self._held = True, state.query, False
            drawn = f"data-draws='{self.draws}' data-state='{html.escape(state.query)}'"
            took = f"<span class='quiet' {drawn}>{1000 * (time.perf_counter() - began):.0f} ms</span>"
            self._status.value = f"{html.escape(' '.join(notes))} {took}"
            self._link.value = f'<a href="{address}" target="_blank">link to this state</a>' if address else ""

    def _share(self, state: State, name: str, right: Any) -> str:
        if right is not None:
            return f"<b>{100 * right.mean():.1f} %</b> of {len(right):,} test images correct at this setting"
        near = nearest(self.study, state, self.prints[name], self.sliders)
        return f"<span class='quiet'>share of test images: not measured here{f'; {near}' if near else ''}</span>"

    def _tell(self, text: str, *, bad: bool = False) -> None:
        self._notice.value = f"<span class='bad'>{html.escape(text[:1].upper() + text[1:])}</span>" if bad else html.escape(text)

    # the buttons

    def _measured(self, _: Any) -> None:
        if self._loop and (self._measuring is None or self._measuring.done()):
            self._measuring = asyncio.run_coroutine_threadsafe(self._measure_all(self.state), self._loop)

    async def _measure_all(self, state: State) -> None:
        self._measure.disabled = True
        self._told(0)
        try:
            copies = explore.copied(self.study, state)  # here, where no map is being drawn
            await asyncio.to_thread(explore.measure, self.study, state, copies, self._told)  # meanwhile the sliders work
        except Exception as error:  # such as a disk that is full; an error in a thread is shown nowhere else
            self._tell(f"Nothing was measured: {error}", bad=True)
        finally:
            self._measure.description, self._measure.disabled = "measure now", False
        self._ask()

    def _told(self, share: float) -> None:
        self._measure.description = f"measuring {100 * share:.0f} %"

    def _saved(self) -> None:
        self._files.value = saved(self.study, self.page, self.state)

    def still(self) -> bytes:
        """The panel as PNG: the figure of its state."""
        figure = explore.figure(self.study, self.state)
        caption = explore.caption(self.study, self.state, explore.explore(self.study, self.state))
        return bytes(self.page.figure(figure, "-".join(["explore", *(self.levels or {})]), caption).data)


def _dropdown(description: str, options: Any) -> w.Dropdown:
    return w.Dropdown(options=options, description=description, layout=WIDE, style=LABEL)
