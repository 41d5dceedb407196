"""`atviz sweep`: what it does once, what it refuses, and its page."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from atviz.app import cells, sweep, sweep_page
from atviz.app.cli import app
from atviz.app.local import Local
from atviz.evidence.intervals import mean_interval

runner = CliRunner()
TINY = [
    "--profile",
    "smoke",
    "--train-limit",
    "100",
    "--test-limit",
    "50",
    "--models",
    "normal,underfit,fgsm-0.1",
    "--distortions",
    "saturate",
]


def invoke(*args):
    return runner.invoke(app, ["sweep", *TINY, *args])


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder of a sweep of three networks and two seeds, and what the command said."""
    home = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATVIZ_HOME", str(home))
        done = invoke("--seeds", "0,1", "--name", "s")
    assert done.exit_code == 0, done.output
    return home / "results" / "s", done.output


@pytest.fixture
def again(swept, monkeypatch, tmp_path):
    """A copy of that folder, in a home of its own."""
    shutil.copytree(swept[0].parents[1], tmp_path / "home")
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "results" / "s"


def test_a_sweep_writes_one_table_of_all_cells(swept):
    folder, said = swept
    assert "0 of 6 cells are done" in said and said.count(": done in") == 6
    order = re.findall(r"fashion-(\S+?)-s(\d)-\w+: done", said)
    for seed in "01":
        assert order.index(("underfit", seed)) > order.index(("fgsm-0.1", seed))
    table = pd.read_csv(folder / "table.csv")
    assert list(table.columns) == list(sweep_page.COLUMNS)
    assert len(table) == 6 * (2 + 9)
    assert set(zip(table.model, table.seed, strict=True)) == {(m, s) for m in ("normal", "underfit", "fgsm-0.1") for s in (0, 1)}
    assert set(table.measure) == {"clean", "robust", "saturate"} and set(table.n) == {50}
    original = table[(table.measure == "saturate") & (table.level == 2)]
    assert (original.acc_on_correct == 1).all()  # level 2 changes nothing
    clean = table[table.measure == "clean"].set_index(["model", "seed"]).top1
    assert (original.set_index(["model", "seed"]).top1 == clean).all()


def test_the_summary_is_of_the_seeds(swept):
    summary, table = (pd.read_csv(swept[0] / f"{name}.csv") for name in ("summary", "table"))
    assert len(summary) == 3 * (2 + 9) and set(summary.seeds) == {2}
    for measure, column in (("clean", "top1"), ("saturate", "acc_on_correct")):
        rows = table[(table.model == "normal") & (table.measure == measure)]
        level = rows.level.max()
        values = rows[rows.level.isna() | (rows.level == level)][column].to_numpy()
        row = summary[(summary.model == "normal") & (summary.measure == measure) & (summary.level.isna() | (summary.level == level))].iloc[
            0
        ]
        assert np.allclose(row[["value", "ci_low", "ci_high"]].astype(float), mean_interval(values))


def test_one_seed_has_no_interval_over_seeds(swept):
    table = pd.read_csv(swept[0] / "table.csv")
    summary = sweep_page.summarized(table[table.seed == 0])
    assert set(summary.seeds) == {1} and summary.ci_low.isna().all() and summary.value.notna().all()


def test_the_page_says_what_was_swept_and_needs_no_network(swept):
    page = (swept[0] / "index.html").read_text()
    assert "Accuracy of 3 networks on 1 data set, 2 seeds" in page and 'role="alert"' not in page
    assert page.count("<figure>") == 1 == len(list((swept[0] / "figures").glob("*.png")))
    assert "The mean over 2 seeds, with its 95 % t interval" in page
    assert not re.search(r"https?://|@import|url\(", page)
    for link in re.findall(r'(?:href|src)="([^"]+)"', page):
        assert link.startswith("data:") or (swept[0] / link).is_file()


def test_the_page_can_be_written_again_from_its_folder(again):
    before = {path: path.read_bytes() for path in again.rglob("*.*")}
    for path in again.glob("*.*"):
        if path.name != "sweep.json":
            path.unlink()
    done = runner.invoke(app, ["report", str(again)])
    assert (done.exit_code, done.output) == (0, f"{again / 'index.html'}\n")
    assert {path: path.read_bytes() for path in again.rglob("*.*")} == before


def test_the_same_sweep_again_does_nothing_and_more_seeds_add_cells(again):
    before = {path: path.stat().st_mtime_ns for path in again.glob("cells/*")}
    done = invoke("--seeds", "0,1", "--name", "s")
    assert done.exit_code == 0 and "6 of 6 cells are done" in done.output and ": done in" not in done.output
    done = invoke("--seeds", "0,1,2", "--name", "s")
    assert done.exit_code == 0 and "6 of 9 cells are done" in done.output and done.output.count(": done in") == 3
    assert before.items() <= {path: path.stat().st_mtime_ns for path in again.glob("cells/*")}.items()
    assert len(before) == 6 and set(pd.read_csv(again / "table.csv").seed) == {0, 1, 2}


@pytest.mark.parametrize("args", [["--seeds", "0"], ["--seeds", "0,1", "--epochs", "2"]])
def test_a_sweep_of_other_cells_is_not_overwritten(again, args):
    before = (again / "sweep.json").read_text()
    done = invoke(*args, "--name", "s")
    assert done.exit_code == 2
    assert re.search(r"results/s holds a sweep of other cells \(fashion-.*\); choose another --name, or delete it", done.output)
    assert (again / "sweep.json").read_text() == before


def test_a_run_is_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    (tmp_path / "results" / "r").mkdir(parents=True)
    (tmp_path / "results" / "r" / "run.json").write_text("{}")
    done = invoke("--name", "r")
    assert (done.exit_code, "results/r holds a run; choose another --name" in done.output) == (2, True)


def test_sweeps_of_other_cells_have_other_names(tiny):
    studies = [[tiny], [replace(tiny, seed=1)], [tiny, replace(tiny, seed=1)], [replace(tiny, epochs=2)]]
    names = {sweep.default_name(cells.grid(each, chosen)) for each in studies for chosen in (["saturate"], ["saturate", "median_filter"])}
    assert len(names) == 8 and all(re.fullmatch(r"sweep-smoke-[0-9a-f]{6}", name) for name in names)


def test_a_cell_that_fails_is_red_with_its_reason_and_the_others_are_there(tiny, monkeypatch, jobs):
    monkeypatch.setattr(sweep, "measure", jobs.measure_or_refuse)
    folder, fine = sweep.run([tiny], ["saturate"], Local(workers=1), name="s", command="atviz sweep <x>")
    assert not fine
    page = (folder / "index.html").read_text()
    alert = re.search(r'<div class="failed" role="alert">(.*?)</div>', page)
    assert alert and re.fullmatch(r"1 of 2 cells are done\.<br>fashion-fgsm-0.1-s0-\w+: the loss of fgsm-0.1 became nan", alert[1])
    assert set(pd.read_csv(folder / "table.csv").model) == {"normal"}
    assert "atviz sweep &lt;x&gt;" in page and "One seed, with the 95 % interval over images" in page
    # mended, only that cell is done
    monkeypatch.undo()
    monkeypatch.setenv("ATVIZ_HOME", str(folder.parents[1]))
    before = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*")}
    folder, fine = sweep.run([tiny], ["saturate"], Local(workers=1), name="s")
    assert fine and 'role="alert"' not in (folder / "index.html").read_text()
    assert len(before) == 1 and before.items() <= {path: path.stat().st_mtime_ns for path in folder.glob("cells/*")}.items()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--datasets", "fashion,cifa10"], "unknown data set 'cifa10'; did you mean 'cifar10'?"),
        (["--datasets", "fashion,fashion"], "datasets name fashion twice; name each once"),
        (["--datasets", ","], "datasets is ','; name at least one"),
        (["--models", "normal,pgd-inf-08x"], "unknown recipe 'pgd-inf-08x'; did you mean 'pgd-inf-8'?"),
        (["--models", "normal,normal,fgsm-4"], "two networks are named normal; give one of them a name of its own"),
        (["--models", "underfit,normal"], "there must be an adversarially trained one, such as pgd-inf-8"),
        (["--distortions", "saturat"], "unknown distortion 'saturat'; did you mean 'saturate'?"),
        (["--distortions", "low_pass_code"], "the distortion low_pass_code has no levels of its own; a sweep takes stylize, saturate, "),
        (["--distortions", "saturate,saturate"], "distortions name saturate twice"),
        (["--seeds", "0,1.5"], "seeds is '0,1.5'; write whole numbers separated by commas, such as 0,1,2"),
        (["--seeds", "-1"], "seeds is '-1'; write whole numbers"),
        (["--seeds", ""], "seeds is ''; write whole numbers"),
        (["--seeds", "1,01"], "seeds name 1 twice"),
        (["--engine", "rey"], "unknown engine 'rey'; did you mean 'ray'?"),
        (["--workers", "0"], "workers is 0; it must be at least 1"),
        (["--cpus", "0"], "cpus is 0; it must be at least 1"),
        (["--gpus", "2"], "gpus is 2; a task runs on one GPU, or on a share of it, so it must be in [0, 1]"),
        (["--engine", "ray", "--workers", "3"], "workers is 3, but Ray runs as many cells as there is room for"),
        (["--profile", "zoo"], "seed is 1, but the profile zoo trains nothing"),
        (["--size", "29", "--distortions", "patch_shuffle"], "patch_shuffle has no level for the 1x29x29 images of fashion"),
        (["--name", "../x"], "without slashes"),
        (["--arch", "smal"], "smal"),
    ],
)
def test_what_is_wrong_is_refused_in_a_sentence_before_any_cell_runs(args, message, tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    done = runner.invoke(app, ["sweep", "--profile", "smoke", *args])
    assert done.exit_code == 2 and isinstance(done.exception, SystemExit)
    assert done.stderr.startswith("atviz: ") and message in done.stderr
    assert not list(tmp_path.iterdir())
