"""One study of three networks that ship, on 60 test images; a panel that draws without an event loop; a panel in a browser."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atviz import saliency
from atviz.app import serve
from atviz.notebook import explore, panel
from atviz.notebook.explore import State
from atviz.notebook.panel.parts import png

MODELS = ("normal", "underfit", "pgd-inf-0.1")
KEPT = Path(__file__).parents[3] / "results" / "browser"
SECOND = 1000  # milliseconds
TOKEN = "a-token-of-the-tests"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def opened_study(opened):
    return opened(test_limit=60, models=list(MODELS), subject="pgd-inf-0.1")


@pytest.fixture(scope="session")
def study(opened_study):
    return opened_study[0]


@pytest.fixture(scope="session")
def page(opened_study):
    return opened_study[1]


@pytest.fixture
def at_once(monkeypatch, tmp_path):
    """Panels draw at once, as no loop runs; they keep their files in a folder of the test, and are opened by no link."""
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    for name in ("QUERY_STRING", "ATVIZ_PAGE", "VOILA_REQUEST_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def explorer(at_once, study, page):
    return panel.show(study, page, State(models=MODELS))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    before, folder = os.environ["ATVIZ_HOME"], tmp_path_factory.mktemp("browser")
    os.environ["ATVIZ_HOME"] = str(folder)
    yield folder
    os.environ["ATVIZ_HOME"] = before


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    found = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed: the notebook was opened in no browser")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def serving(home) -> Iterator[Callable[..., str]]:
    """``serving(notebook, page=…)`` starts what `atviz explore` starts, and gives its address. It ends with the module."""
    started = []

    def start(notebook: Path, *, page: bool) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [
            *serve.command(notebook, page=page, port=port, browser=False),
            *([] if page else ["--LabApp.expose_app_in_browser=True"]),
        ]
        own = {"JUPYTER_CONFIG_DIR": "jupyter", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
        folders = {name: str(home / folder) for name, folder in own.items()}
        settings = home / "jupyter" / "lab" / "user-settings" / "@jupyterlab"
        chosen = {"notebook-extension/tracker": {"windowingMode": "none"}, "apputils-extension/notification": {"fetchNews": "false"}}
        for name, value in chosen.items():  # cells out of sight stay in the page, and no pop-up lies over them
            (settings / name).parent.mkdir(parents=True, exist_ok=True)
            (settings / f"{name}.jupyterlab-settings").write_text(json.dumps(value))
        path = home / f"{'voila' if page else 'lab'}.log"
        log = path.open("w")
        environment = {**os.environ, **serve.environment(notebook), **folders, "JUPYTER_TOKEN": TOKEN}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        started.append((process, log))
        deadline, answers = time.monotonic() + 60, False
        while not answers and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
            with socket.socket() as probe:
                answers = probe.connect_ex(("127.0.0.1", port)) == 0
        assert answers, path.read_text()
        return f"http://127.0.0.1:{port}/" + ("" if page else f"lab/tree/{notebook.name}")

    yield start
    for process, log in started:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


@pytest.fixture(scope="session")
def driven() -> type:
    return Driven


class Driven:
    """A page in a browser that shows the explore panel of a study. It has all that Playwright's pages have, too."""

    drawn = "document.querySelector('[data-state]').dataset.state"  # the state of the pictures that are shown

    def __init__(self, page: Any, study: Any) -> None:
        self.page, self.study = page, study
        page.set_default_timeout(90 * SECOND)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def run_all(self, lab: str) -> None:
        """Open a notebook in JupyterLab and run every cell."""
        self.page.goto(f"{lab}?token={TOKEN}&reset")  # without the tabs of an earlier page
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        # a cell that is run before the notebook has its kernel would start another
        kernel = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
        self.page.wait_for_function(f"{kernel}?.connectionStatus === 'connected' && {kernel}.status === 'idle'")
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => {})")

    def shot(self, name: str, selector: str = "") -> None:
        KEPT.mkdir(parents=True, exist_ok=True)
        if selector:
            self.page.locator(selector).first.scroll_into_view_if_needed()
        self.page.screenshot(path=KEPT / f"{name}.png")

    def press(self, field: str, *keys: str) -> None:
        """Press keys on a slider, each where the one before has put it."""
        handle = self.page.locator(f".atviz-{field} .noUi-handle")
        handle.focus()
        for key in keys:
            before = handle.get_attribute("aria-valuenow")
            handle.press(key)
            now = f"document.querySelector('.atviz-{field} .noUi-handle').getAttribute('aria-valuenow')"
            self.page.wait_for_function(f"{now} !== '{before}'")

    def upload(self, name: str, content: bytes) -> None:
        with self.page.expect_file_chooser() as opening:
            self.page.locator("button:has-text('your own')").click()
        opening.value.set_files({"name": name, "mimeType": "image/png", "buffer": content})

    def settle(self, **wanted: str) -> State:
        """Wait until the panel says a state and has drawn it; the state."""
        for field, value in wanted.items():
            self.page.wait_for_function(f"(new URLSearchParams({self.drawn})).get('{field}') === '{value}'")
        return State.of(self.page.evaluate(self.drawn))

    def state(self) -> str:
        """The state of the pictures that are shown, as a query."""
        return self.page.evaluate(self.drawn)

    def pictures(self) -> list[np.ndarray]:
        """Every picture of the panel as pixels, in order: image, distorted, then what each network sees and its map."""
        read = """async () => Promise.all([...document.querySelectorAll('img.atviz-picture')].map(async img => {
            const bytes = new Uint8Array(await (await fetch(img.src)).arrayBuffer());
            return btoa(String.fromCharCode(...bytes)); }))"""
        return [decoded(base64.b64decode(text)) for text in self.page.evaluate(read)]

    def percentages(self) -> list[dict[str, float]]:
        """For each network: class → probability in percent, as the bars' titles say them."""
        bars = "[...box.querySelectorAll('.atviz-bar')].map(bar => bar.title)"
        boxes = self.page.evaluate(f"() => [...document.querySelectorAll('.atviz-bars')].map(box => {bars})")
        return [{title.rpartition(": ")[0]: float(title.rpartition(": ")[2].rstrip(" %")) for title in box} for box in boxes]

    def check(self, state: State) -> tuple[list[np.ndarray], list[dict[str, float]]]:
        """What the page shows is what the package computes for the state."""
        view = explore.explore(self.study, state)
        heats = saliency.as_shown(view.maps, state.scale)
        want = [decoded(png(t)) for t in (view.image, view.shown, *(t for name in view.maps for t in (view.seen[name], heats[name])))]
        found, deadline = self.pictures(), time.monotonic() + 5
        while any(differ(a, b) for a, b in zip(found, want, strict=True)) and time.monotonic() < deadline:
            time.sleep(0.05)  # the browser may say the state a moment before it shows its pictures
            found = self.pictures()
        assert [i for i, (a, b) in enumerate(zip(found, want, strict=True)) if differ(a, b)] == []
        bars = self.percentages()
        assert len(bars) == len(view.maps)
        for shown, probability in zip(bars, view.probability.values(), strict=True):
            np.testing.assert_allclose([shown[c] for c in self.study.images.classes], 100 * probability, atol=0.02)
        return found, bars


def decoded(content: bytes) -> np.ndarray:
    return np.array(Image.open(BytesIO(content)))


def differ(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape != b.shape or bool(np.abs(a.astype(int) - b.astype(int)).max() > 2)  # another number of threads rounds otherwise
