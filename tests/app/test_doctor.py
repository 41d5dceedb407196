"""What `atviz doctor` finds on a machine that is whole, and on one that is not."""

import json
import shutil

import pytest
from typer.testing import CliRunner

import atviz
from atviz import disk
from atviz.app import doctor
from atviz.app.cli import app
from atviz.evidence import Store
from atviz.models import checkpoints


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    return tmp_path


def lines():
    return {line.what: line for line in doctor.examine()}


def test_a_whole_machine_needs_nothing(home):
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output
    assert f"atviz: {atviz.__version__}" in done.output and "whole checkpoints" in done.output and "!" not in done.output


def test_what_is_damaged_is_found_with_what_to_do(home):
    folder = home / "checkpoints" / "local" / "mine"
    shutil.copytree(next(iter(checkpoints.zoo("fashion").values())), folder)
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    store = Store(home / "results" / "records")
    store.keep({"a": 1}, 1)
    store.keep({"a": 2}, 2)
    next(store.folder.iterdir()).write_text("{}")
    (home / "data" / "cache").mkdir(parents=True)
    (home / "data" / "cache" / "set-test-1.pixels").write_bytes(b"")
    disk.beside(home / "results" / "page.html").write_text("half")
    found = lines()
    assert (
        "not what its card describes" in found["trained here"].found and found["trained here"].todo == "delete it, and it is trained again"
    )
    assert found["records"].found.startswith("1 whole, 1 damaged") and not found["records"].todo
    assert found["decoded images"].found.startswith("0 whole, 1 damaged")
    assert found["interrupted writes"].todo
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1 and "! trained here" in done.output


def test_torch_and_torchvision_that_do_not_belong_together_are_named(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda name: ["numpy", "torch==2.0.1"])
    assert "belongs to torch 2.0.1: pip install torch==2.0.1" in doctor._torch().todo
    monkeypatch.undo()
    assert doctor._torch().todo == ""


def test_a_home_that_is_full_is_said(home, monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_ROOM", 2**60)
    assert "make room" in doctor._home().todo


def test_the_digest_is_that_of_the_cards(home):
    card = json.loads((next(iter(checkpoints.zoo("fashion").values())) / "card.json").read_text())
    assert card["data"]["test_digest"] == doctor.DIGEST


def test_a_checkpoint_that_was_moved_aside_is_moved_back_and_not_called_rubbish(home):
    folder = home / "checkpoints" / "local" / "mine"
    shutil.copytree(next(iter(checkpoints.zoo("fashion").values())), folder)
    folder.rename(disk.beside(folder, "old"))  # as a kill in the middle of an exchange leaves it
    found = lines()
    assert found["interrupted writes"] == doctor.Line("interrupted writes", "none left")
    assert found["trained here"].found == "1 whole checkpoints" and checkpoints.exists(folder)
