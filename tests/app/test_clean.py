"""What `atviz clean` frees, and what it never touches."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from atviz import disk
from atviz.app import clean
from atviz.app.cli import app
from atviz.models import checkpoints

runner = CliRunner()
IMPORT = "import sys; from pathlib import Path; from atviz import disk; path = Path(sys.argv[1])\n"
# processes that have begun something, say so, and wait for a line
WRITER = [sys.executable, "-c", IMPORT + "path = disk.beside(path); path.write_text('half'); print(path, flush=True); input()"]
WORKER = [sys.executable, "-c", IMPORT + "with disk.alone(path):\n    print('mine', flush=True); input()"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home that holds something of every kind."""
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path / "home"))
    home = tmp_path / "home"
    put(home / "data" / "cache" / "set-test-1.pixels", 1000)
    put(home / "data" / "cache" / "unreadable.json", 10)
    put(home / "data" / "cache" / "mine.txt", 1)
    put(home / "data" / "downloads" / "archive.tar", 1)
    put(home / "results" / "records" / "a.json", 200)
    put(home / "results" / "quick" / "run.json", 50)
    put(home / "results" / "quick" / "figures" / "x.png", 50)
    put(home / "results" / "foreign" / "x", 1)
    put(home / "checkpoints" / "local" / "net" / "card.json", 20)
    put(home / "checkpoints" / "local" / "net" / "weights.safetensors", 80)
    put(home / "checkpoints" / "local" / "other.training", 5)
    put(home / "checkpoints" / "local" / "other.training.before", 5)
    put(home / "checkpoints" / "zoo" / "net" / "card.json", 1)
    put(disk.beside(home / "results" / "page.html"), 7)
    return home


def put(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def files(home):
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


SIZES = {"caches": 1010, "leftovers": 7, "records": 200, "networks": 110, "quick": 100, "results/quick": 100}


@pytest.mark.parametrize(("what", "size"), SIZES.items())
def test_it_says_first_what_it_would_free_and_frees_just_that(home, what, size):
    before = files(home)
    said = json.loads(runner.invoke(app, ["clean", what, "--json"]).stdout)
    assert files(home) == before
    assert (said["freed"], said["bytes"], len(said["parts"])) == (False, size, 1)
    named = {str(os.path.relpath(place, home)) for place in said["parts"][0]["places"]}
    freed = json.loads(runner.invoke(app, ["clean", what, "--json", "--yes"]).stdout)
    assert (freed["freed"], freed["bytes"]) == (True, size)
    gone = set(before) - set(files(home))
    assert gone and all(any(path == name or path.startswith(f"{name}/") for name in named) for path in gone)
    assert set(files(home)) < set(before)
    assert all((home / name).exists() is False for name in named)


def test_by_default_only_what_is_cheap_goes(home):
    before = files(home)
    assert "would be freed; --yes frees it" in runner.invoke(app, ["clean"]).stdout and files(home) == before
    assert "1017 B freed" in runner.invoke(app, ["clean", "--yes"]).stdout
    gone = set(before) - set(files(home))
    assert {path for path in gone if "page.html" not in path} == {"data/cache/set-test-1.pixels", "data/cache/unreadable.json"}
    assert len(gone) == 3 and "0 B to free" in runner.invoke(app, ["clean"]).stdout


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("cache", "unknown thing to clean 'cache'; did you mean 'caches'?"),
        ("quik", "did you mean 'quick'?"),
        ("..", "is a path; clean takes caches, leftovers, records, networks, or the name of a run in results/"),
        (".", "is a path"),
        ("results/..", "is a path"),
        ("results/", "is a path"),
        ("../home/results/quick", "is a path"),
        ("/etc", "is a path"),
        ("foreign", "results/foreign holds no run, so clean leaves it alone"),
        ("away", "results/away is a link to"),
        ("quick/figures", "is a path"),
    ],
)
def test_what_it_does_not_know_is_refused_before_anything_is_freed(home, tmp_path, what, message):
    put(tmp_path / "outside" / "run.json", 5)
    (home / "results" / "away").symlink_to(tmp_path / "outside")
    before = files(tmp_path)
    done = runner.invoke(app, ["clean", "caches", what, "--yes"])
    assert done.exit_code == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
    assert files(tmp_path) == before


def test_what_a_link_leads_to_is_left_alone(home, tmp_path):
    shutil.move(home / "data" / "cache", tmp_path / "shared")
    (home / "data" / "cache").symlink_to(tmp_path / "shared")
    (home / "results" / "quick" / "link").symlink_to(tmp_path / "shared")
    done = runner.invoke(app, ["clean", "caches", "quick", "--yes"])
    assert done.exit_code == 0 and "cache is left alone: a link leads from it out of" in done.stderr
    assert files(tmp_path / "shared") == ["mine.txt", "set-test-1.pixels", "unreadable.json"]
    assert not (home / "results" / "quick").exists()


def test_the_only_copy_of_a_checkpoint_is_moved_back_and_never_deleted(home):
    folder = home / "checkpoints" / "local" / "net"
    folder.rename(disk.beside(folder, "old"))  # as a kill in the middle of an exchange leaves it
    assert clean.plan(["leftovers"])[0].size == 7
    assert (folder / "card.json").is_file()
    new = disk.beside(folder, "old")
    shutil.copytree(folder, new)
    (folder / "card.json").unlink()  # the new one is no checkpoint
    (part,) = clean.free(clean.plan(["leftovers"]))
    assert (new / "card.json").is_file() and part.kept == [f"{new} is kept: there is no other copy of it"]
    put(folder / "card.json", 20)
    clean.free(clean.plan(["leftovers"]))
    assert not new.exists() and checkpoints.exists(folder)


def test_a_network_does_not_come_back_from_what_was_moved_aside(home):
    folder = home / "checkpoints" / "local" / "net"
    shutil.copytree(folder, disk.beside(folder, "old"))
    clean.free(clean.plan(["networks"]))
    assert not checkpoints.exists(folder) and not list(folder.parent.iterdir())


def test_what_a_process_still_writes_is_kept_until_it_has_ended(home):
    with subprocess.Popen([*WRITER, str(home / "results" / "busy")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        half = home / "results" / writer.stdout.readline().strip()
        (part,) = clean.plan(["leftovers"])
        assert half not in part.places and any(str(half) in sentence for sentence in part.kept)
        writer.communicate("\n")
    assert half in clean.plan(["leftovers"])[0].places


def test_of_another_machine_only_what_is_old_counts(home):
    half = put(home / "results" / "page.html.elsewhere-1-0123abcd.partial", 3)
    assert half not in clean.plan(["leftovers"])[0].places
    os.utime(half, (time.time() - 2 * clean.DAY,) * 2)
    assert half in clean.plan(["leftovers"])[0].places


@pytest.mark.parametrize(("what", "locked"), [("quick", "results/quick"), ("networks", "checkpoints/local/net.training")])
def test_what_another_process_works_on_is_kept_and_said(home, what, locked):
    with subprocess.Popen([*WORKER, str(home / locked)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout.readline() == "mine\n"
        before = files(home / locked.removesuffix(".training"))
        done = runner.invoke(app, ["clean", what, "--yes"])
        assert done.exit_code == 1 and "is kept: " in done.stderr and f"is in use by process {worker.pid}" in done.stderr
        assert files(home / locked.removesuffix(".training")) == before
        worker.communicate("\n")
    assert runner.invoke(app, ["clean", what, "--yes"]).exit_code == 0 and not (home / locked.removesuffix(".training")).exists()
