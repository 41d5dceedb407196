"""What `atviz runs` finds in results/, whatever lies there."""

import json
import os

import pytest
from typer.testing import CliRunner

from atviz import disk
from atviz.app import runs
from atviz.app.cli import app

SETTINGS = {"dataset": "fashion", "models": ["normal", "underfit", "pgd-inf-0.1", "spatial"], "profile": "quick", "seed": 3}


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def run(results, name, stages, changed=None):
    folder = results / name
    folder.mkdir()
    record = {
        "settings": SETTINGS,
        "stages": {"train": {"status": "done"}} | stages,
        "order": ["04_saturate", "05_shuffle"],
        "version": "0",
    }
    disk.write_json(folder / "run.json", record)
    if changed:
        os.utime(folder / "run.json", (changed, changed))
    return folder


def sweep(results, name, failed=(), done=()):
    (results / name / "cells").mkdir(parents=True)
    record = {
        "version": "0", "command": "atviz sweep", "cells": ["a", "b"], "failed": dict.fromkeys(failed, "why"), "distortions": ["saturate"],
        "settings": {"profile": "smoke", "arch": None}, "datasets": ["fashion", "cifar10"], "models": ["normal"], "seeds": [0, 1],
    }  # fmt: skip
    disk.write_json(results / name / "sweep.json", record)
    for cell in done:
        (results / name / "cells" / f"{cell}.json").write_text("{}")


def state(status):
    return {"status": status}


DONE, FAILED, STOPPED = state("done"), state("failed"), state("interrupted")


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ({"04_saturate": DONE, "05_shuffle": state("left out")}, "done"),
        ({"04_saturate": DONE, "05_shuffle": FAILED}, "1 of 2 notebooks failed"),
        ({"04_saturate": STOPPED, "05_shuffle": FAILED}, "1 of 2 notebooks failed, 1 not done"),
        ({"04_saturate": DONE, "05_shuffle": STOPPED}, "unfinished: 1 of 2 notebooks done"),
        ({"04_saturate": DONE}, "unfinished: 1 of 2 notebooks done"),
        ({"train": FAILED}, "training failed"),
    ],
)
def test_the_state_of_a_run_is_that_of_its_stages(results, stages, said):
    assert runs.held(run(results, "r", stages)).state == said


def test_a_sweep_is_done_when_every_cell_is(results):
    sweep(results, "all", done="ab"), sweep(results, "some", done="a"), sweep(results, "bad", failed="b", done="a")
    found = {held.name: held for held in runs.listed()}
    assert {name: held.state for name, held in found.items()} == {
        "all": "done", "some": "unfinished: 1 of 2 cells done", "bad": "1 of 2 cells failed",
    }  # fmt: skip
    assert (found["all"].datasets, found["all"].seeds, found["all"].profile) == (("fashion", "cifar10"), (0, 1), "smoke")


def test_the_newest_is_first_and_sizes_are_those_of_the_files(results):
    old, new = run(results, "old", {}, changed=1_000_000_000), run(results, "new", {}, changed=1_500_000_000)
    (old / "figures").mkdir()
    (old / "figures" / "big.png").write_bytes(bytes(5000))
    os.utime(old / "figures" / "big.png", (1_100_000_000, 1_100_000_000))
    (new / "link").symlink_to(old)
    first, second = runs.listed()
    assert (first.name, second.name, second.changed.timestamp()) == ("new", "old", 1_100_000_000)
    assert second.size == 5000 + (old / "run.json").stat().st_size
    assert first.size == (new / "run.json").stat().st_size  # the link is not followed


def test_what_is_damaged_or_foreign_is_named(results):
    run(results, "cut", {})
    (results / "cut" / "run.json").write_text("{")
    run(results, "misfit", {})
    (results / "misfit" / "run.json").write_text('{"settings": 1}')
    sweep(results, "sweep")
    (results / "sweep" / "sweep.json").write_bytes(b"\xff")
    for name in ("records", "explore", "foreign"):
        (results / name).mkdir()
    (results / "note.txt").write_text("mine")
    (results / "nowhere").symlink_to(results / "gone")
    (results / "versus").mkdir()
    (results / "versus" / "compare.json").write_text("[]")
    disk.beside(results / "r").mkdir()
    found = {held.name if held.kind != "leftover" else "left": held for held in runs.listed()}
    assert {name: held.kind for name, held in found.items()} == {
        "cut": "run", "misfit": "run", "sweep": "sweep", "records": "records", "explore": "explore", "foreign": "foreign", "note.txt": "foreign",
        "nowhere": "foreign", "versus": "comparison", "left": "leftover",
    }  # fmt: skip
    assert all(found[name].state.startswith("damaged: ") for name in ("cut", "misfit", "sweep"))
    assert found["foreign"].state == "no run" and "an interrupted write of r" in found["left"].state
    done = CliRunner().invoke(app, ["runs"])
    assert done.exit_code == 0 and len(done.output.splitlines()) == 11


def test_the_list_has_a_line_or_an_object_for_each(results):
    assert "no runs yet" in CliRunner().invoke(app, ["runs"]).output
    assert json.loads(CliRunner().invoke(app, ["runs", "--json"]).output) == []
    run(results, "r\n", {"04_saturate": DONE, "05_shuffle": DONE})
    header, line = CliRunner().invoke(app, ["runs"]).output.splitlines()
    assert header.split()[0] == "name" and line.startswith(r"r\n") and line.endswith("done")
    assert "normal, underfit, pgd-inf-0.1 +1" in line
    (found,) = json.loads(CliRunner().invoke(app, ["runs", "--json"]).output)
    assert found["name"] == "r\n" and found["networks"] == SETTINGS["models"] and found["seeds"] == [3] and found["state"] == "done"


def test_a_run_is_found_by_its_name_or_by_a_path(results, tmp_path, monkeypatch):
    run(results, "quick-fashion", {})
    elsewhere = run(tmp_path, "elsewhere", {})
    assert runs.find("quick-fashion") == results / "quick-fashion" and runs.find(str(elsewhere)) == elsewhere
    monkeypatch.chdir(tmp_path)
    assert runs.find("results/quick-fashion").resolve() == results / "quick-fashion"
    with pytest.raises(ValueError, match="unknown run 'quick-fashio'; did you mean 'quick-fashion'?"):
        runs.find("quick-fashio")
    (results / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no run"):
        runs.find("empty")
    assert [name for name in ("r", "", ".", "..", "a/b", "a\\b", "..r") if runs.is_name(name)] == ["r", "..r"]
