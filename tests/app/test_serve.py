"""`atviz explore`: what it opens, and that it opens it to nobody else."""

import os

import nbformat
import pytest
from typer.testing import CliRunner

from atviz import home
from atviz.app import pipeline
from atviz.app.cli import app

runner = CliRunner()


@pytest.fixture
def started(monkeypatch, tmp_path):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    commands = []
    monkeypatch.setattr(os, "execve", lambda path, command, environment: commands.append(command))
    return commands


def test_the_notebook_that_ships_is_copied_and_an_edited_copy_kept(started):
    (shipped,) = pipeline.choose(["11_explore"])
    before = shipped.read_bytes()
    assert runner.invoke(app, ["explore", "--no-browser"]).exit_code == 0
    copy = next(home().glob("results/explore/*.ipynb"))
    notebook = nbformat.read(copy, as_version=4)
    assert [c.source for c in notebook.cells] == [c.source for c in nbformat.read(shipped, as_version=4).cells]
    copy.write_text(copy.read_text().replace("Explore", "Mine"))
    assert runner.invoke(app, ["explore", "--no-browser"]).exit_code == 0
    assert "Mine" in copy.read_text()
    assert shipped.read_bytes() == before
    assert started[0] == started[1]


def test_settings_become_parameters(started):
    assert runner.invoke(app, ["explore", "--dataset", "cifar10", "--models", "normal,pgd-inf-8"]).exit_code == 0
    copy = nbformat.read(next(home().glob("results/explore/*.ipynb")), as_version=4)
    names: dict = {}
    for cell in copy.cells[1:3]:
        exec(cell.source, names)
    assert (names["dataset"], names["profile"], names["models"]) == ("cifar10", "quick", ["normal", "pgd-inf-8"])
    assert not any(cell.get("outputs") for cell in copy.cells)


@pytest.mark.parametrize(("arguments", "module"), [([], "jupyterlab"), (["--serve"], "voila")])
def test_it_listens_on_loopback_with_a_token(started, arguments, module):
    assert runner.invoke(app, ["explore", "--port", "8123", "--no-browser", *arguments]).exit_code == 0
    (command,) = started
    assert command[1:3] == ["-m", module]
    text = " ".join(command)
    assert ".ip=127.0.0.1" in text
    assert ".port=8123" in text
    assert "--no-browser" in command
    assert ("--token" in command) == (module == "voila")  # JupyterLab has one unless told otherwise
    assert "token=''" not in text


def test_what_cannot_be_is_refused_before_anything_is_opened(started):
    for arguments in (["--port", "70000"], ["--models", "normal,nothing-9"], ["--dataset", "fashoin"]):
        done = runner.invoke(app, ["explore", *arguments])
        assert done.exit_code == 2
        assert done.output.startswith("atviz: ")
    assert not started
