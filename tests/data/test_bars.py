"""Progress bars: when they are seen, when they are silent, and what is left to do."""

import io
import time

import pytest
from tqdm.notebook import tqdm as notebook_bar

from atviz.data import bars, progress, shorten
from atviz.data.bars import LEAST


def shown(monkeypatch, *, batches=LEAST, delay=0.0, pause=0.0):
    """What a terminal gets of a bar over 30 images."""
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(bars, "DELAY", delay)
    with progress(30, "3 networks", batches=batches) as bar:
        for _ in range(3):
            time.sleep(pause)
            bar.update(10)
    return screen.getvalue()


def test_a_bar_shows_what_is_done_and_the_time_left_and_disappears(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE")
    text = shown(monkeypatch, pause=0.15)  # tqdm draws ten times in a second
    assert "3 networks:  33%" in text and "10/30" in text and "images/s" in text and "<00:00" in text
    assert text.endswith("\r") and "\n" not in text


def test_a_bar_is_silent_where_it_is_asked_to_be(monkeypatch):
    assert shown(monkeypatch) == ""  # the tests set TQDM_DISABLE


@pytest.mark.parametrize("options", [dict(batches=LEAST - 1), dict(delay=60.0)])
def test_little_work_shows_no_bar(monkeypatch, options):
    monkeypatch.delenv("TQDM_DISABLE")
    assert shown(monkeypatch, **options) == ""


def test_work_that_is_not_needed_is_taken_off():
    silent = progress(30, "none")
    shorten(silent, 10)
    assert silent.total == 20
    bar = notebook_bar(total=30, display=False)
    assert bar.container.children[1].max == 30
    shorten(bar, 10)
    assert bar.total == bar.container.children[1].max == 20
    bar.close()
