"""A trained network, notebooks of a few lines, and settings that train in a moment."""

import importlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from typer.testing import CliRunner

from atviz.app import sliders
from atviz.app.cli import app
from atviz.evidence import Study
from atviz.notebook import Settings
from atviz.notebook.study import study_of
from atviz.training import Trainer


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint that `atviz train normal` leaves."""
    home = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATVIZ_HOME", str(home))
        done = CliRunner().invoke(app, ["train", "normal", "--profile", "smoke", "--train-limit", "200", "--test-limit", "60"])
    assert done.exit_code == 0, done.output
    return next((home / "checkpoints" / "local").iterdir())


@pytest.fixture
def of_trained(trained_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint, in the home that it was made in."""
    monkeypatch.setenv("ATVIZ_HOME", str(trained_folder.parents[2]))
    return trained_folder


@pytest.fixture
def untrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that train in a moment, in a home of the test's own."""
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    return Settings(profile="smoke", train_limit=200, test_limit=60, models=("normal", "fgsm-0.1"))


@pytest.fixture(scope="session")
def _checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATVIZ_HOME", str(home))
        trainer = Trainer(Settings(profile="smoke", train_limit=200, test_limit=60, models=("normal", "fgsm-0.1")))
        trainer.obtain("normal"), trainer.obtain("fgsm-0.1")
    return home / "checkpoints"


@pytest.fixture
def tiny(untrained: Settings, _checkpoints: Path, tmp_path: Path) -> Settings:
    """The same settings; their networks are trained."""
    shutil.copytree(_checkpoints, tmp_path / "checkpoints")
    return untrained


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`tasks_of_tests`, which other processes find, too."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("tasks_of_tests")


@pytest.fixture(scope="session")
def write_notebook() -> Callable[[Path, str, str], Path]:
    """Write a notebook with a cell of parameters, a cell that prints, and a cell of the test's own."""

    def write(folder: Path, name: str, code: str) -> Path:
        source = "dataset = 'fashion'\nprofile = 'quick'\nmodels = []\nout = ''\nextra = 1"
        parameters = new_code_cell(source, metadata={"tags": ["parameters"]})
        folder.mkdir(parents=True, exist_ok=True)
        notebook = new_notebook(cells=[parameters, new_code_cell("print('before')"), new_code_cell(code)])
        notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        nbformat.write(notebook, folder / f"{name}.ipynb")
        return folder / f"{name}.ipynb"

    return write


CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")  # its event loop must not run on while tests of other files do
def browser() -> Iterator[Any]:
    """Chromium. Where it is not installed, tests that need it are skipped."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: the page was opened in no browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def slid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    """The folder of a run with sliders, and its study: two networks that ship, on 60 test images.

    Accuracy is recorded without distortion, at two saturation levels, and under the attack.
    """
    home = tmp_path_factory.mktemp("slid")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATVIZ_HOME", str(home))
        patch.setattr(sliders, "IMAGES", 3)
        study = study_of(Settings(profile="zoo", models=("normal", "pgd-inf-0.1"), test_limit=60))
        study.outcomes({"saturate": [64.0, 0.25]})
        study.robustness()
        folder = home / "results" / "r"
        sliders.write(folder, study)
    settings = {"dataset": "fashion", "models": list(study.models), "arch": "small", "profile": "zoo", "seed": 0}
    run = {"settings": settings, "stages": {"train": {"status": "done"}}, "order": [], "version": "0"}
    (folder / "run.json").write_text(json.dumps(run))
    return folder, study
