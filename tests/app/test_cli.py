"""The command line as a user types it."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import pandas as pd
import pytest
from typer.testing import CliRunner

import atviz
from atviz import disk
from atviz.app import cli, pipeline
from atviz.app.cli import app
from atviz.data import load
from atviz.evidence import INSTRUMENTS

runner = CliRunner()
ROOT = Path(__file__).parents[2]


HELP = """
import sys
from typer.testing import CliRunner
from atviz.app.cli import app
done = CliRunner().invoke(app, ["--help"])
assert done.exit_code == 0, done
heavy = {"torch", "matplotlib", "pandas", "numpy", "papermill", "nbformat", "jinja2"} & set(sys.modules)
assert not heavy, heavy
print(done.output)
"""


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in (
        "run",
        "train",
        "evaluate",
        "explore",
        "instruments",
        "report",
        "sweep",
        "data",
        "models",
        "stylize",
        "runs",
        "compare",
        "clean",
    ):
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE), command
    for hidden in ("notebooks", "controls", "transfer", "readme"):
        assert not re.search(rf"^  {hidden} ", done.stdout, re.MULTILINE), hidden


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--dataset", "fashon"], "unknown data set 'fashon'; did you mean 'fashion'?"),
        (["--profile", "quik"], "unknown profile 'quik'; did you mean 'quick'?"),
        (["--models", "normal,pgd-inf-08x"], "unknown recipe 'pgd-inf-08x'; did you mean 'pgd-inf-8'?"),
        (["--notebooks", "04_saturat"], "unknown notebook '04_saturat'; did you mean '04_saturate'?"),
        (["--set", "level=[2.0]", "--notebooks", "saturate"], "unknown parameter 'level'; did you mean 'levels'?"),
        (["--set", "levels=8/255"], "parameter levels is '8/255', a str; it must be a list of float"),
        (["--set", "radius=8/255"], "parameter radius is '8/255', a str; it must be a float"),
        (["--set", "levels=['a']"], "it must be a list of float"),
        (["--set", "images=2.5"], "parameter images is 2.5, a float; it must be an int"),
        (["--set", "seed=3"], "write --seed"),
        (["--set", "levels"], "write NAME=VALUE"),
        (["--name", "../x"], "without slashes"),
        (["--workers", "0"], "workers is 0; it must be at least 1"),
        (["--seeds", "3"], "No such option: --seeds (Possible options: --seed"),
        (["--seed", "x"], "Invalid value for '--seed'"),
        (["--size", "0"], "size is 0; it must be at least 1"),
        (["--dataset", "folder:nowhere"], "nowhere is not a folder"),
        (["--alpha", "2"], "alpha is 2.0; it must be in [0, 1]"),
        (["--styles", "nowhere"], "nowhere is not a folder; styles are 'procedural' or a folder of images"),
        (["--adain", "nowhere"], "there is no checkpoint in nowhere"),
        (["--adain", "a,b,c"], "adain is 'a,b,c'; it must be small, a folder, or two files"),
    ],
)
def test_what_is_wrong_is_refused_in_a_sentence_before_anything_runs(args, message, tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    done = runner.invoke(app, ["run", *args])
    assert done.exit_code == 2
    assert message in " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.output).split())
    assert isinstance(done.exception, SystemExit)  # no traceback
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train", "nrmal"], "did you mean 'normal'"),
        (["train", "normal", "--preset", "itazury"], "known are paper, code, itazuri"),
        (["evaluate", "nowhere", "--distortion", "saturate", "--levels", "4"], "unknown network of fashion 'nowhere'; "),
        (["evaluate", "nowhere", "--distortion", "saturate", "--levels", "four"], "write numbers separated by commas"),
    ],
)
def test_a_mistake_gets_a_sentence(args, message, tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    done = runner.invoke(app, args)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output


def test_evaluate_prints_the_sweep(of_trained):
    done = runner.invoke(app, ["evaluate", str(of_trained), "--distortion", "saturate", "--levels", "2,1024", "--test-limit", "60"])
    header, first, second = done.output.strip().splitlines()
    assert header == "model,distortion,level,n,top1,n_correct,acc_on_correct,ci_low,ci_high"
    assert first.split(",")[1:4] == ["saturate", "2.0", "60"]
    assert float(first.split(",")[6]) == 1.0  # level 2 is the identity
    assert second.split(",")[2] == "1024.0"


def test_evaluate_takes_the_instruments_own_levels(of_trained):
    done = runner.invoke(app, ["evaluate", str(of_trained), "--distortion", "patch_shuffle", "--test-limit", "30"])
    assert [line.split(",")[2] for line in done.output.strip().splitlines()[1:]] == ["2.0", "4.0", "7.0"]
    bare = runner.invoke(app, ["evaluate", str(of_trained), "--distortion", "low_pass_code", "--test-limit", "30"])
    assert (bare.exit_code, "low_pass_code has no levels of its own; name some" in bare.output) == (2, True)
    unknown = runner.invoke(app, ["evaluate", str(of_trained), "--distortion", "saturat"])
    assert (unknown.exit_code, "did you mean 'saturate'?" in unknown.output) == (2, True)


def test_evaluate_takes_any_network_and_says_on_which_classes_it_was_judged(tmp_path):
    code = "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 12))\n"
    (tmp_path / "net.py").write_text(code)
    (tmp_path / "classes.csv").write_text("".join(f"{name},{i + 2}\n" for i, name in enumerate(load("fashion", "test", limit=10).classes)))
    args = ["evaluate", f"mine=python:{tmp_path / 'net.py'}:make", "--distortion", "saturate", "--levels", "2", "--test-limit", "20"]
    done = runner.invoke(app, [*args, "--classes", str(tmp_path / "classes.csv")])
    assert done.exit_code == 0 and done.stdout.splitlines()[1].startswith("mine,saturate,2.0,20,")
    assert "mine: its 12 classes have no names; judged on 10 of its 12 classes (by the given table)" in done.stderr
    refused = runner.invoke(app, args)
    assert refused.exit_code == 2 and "map them with --classes FILE" in refused.stderr and len(refused.stderr.strip().splitlines()) == 1


def test_a_library_that_is_missing_is_said_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    done = runner.invoke(app, ["evaluate", "timm:resnet18", "--distortion", "saturate"])
    assert done.exit_code == 2 and "pip install 'atviz[outside]'" in done.stderr


def test_evaluate_refuses_images_that_the_network_was_not_trained_for(of_trained):
    done = runner.invoke(app, ["evaluate", str(of_trained), "--distortion", "saturate", "--levels", "2", "--dataset", "shapetex"])
    assert done.exit_code == 2
    assert "the classes of shapetex do not fit normal: shapetex has 8 (disc, " in done.output and "--classes FILE" in done.output


def test_every_instrument_is_listed_with_its_levels():
    lines = runner.invoke(app, ["instruments"]).output.splitlines()
    assert [line.split()[0] for line in lines] == [i.name for i in INSTRUMENTS]
    found = {line.split()[0]: line for line in lines}
    assert found["saturate"].endswith("saturation level (2 = original): 0.25, 0.5, 1, 2, 4, 8, 16, 64, 1024")
    assert "accuracy on correct" in found["saturate"] and "mean over maps" in found["sparsity"]


def test_train_reads_what_is_trained_and_keeps_a_copy_in_the_zoo(of_trained, tmp_path, monkeypatch):
    before = (of_trained / "weights.safetensors").stat().st_mtime_ns
    args = ["train", "normal", "--profile", "smoke", "--train-limit", "200", "--test-limit", "60"]
    done = runner.invoke(app, args)
    assert re.fullmatch(rf"normal: clean accuracy 0\.\d{{4}}, {re.escape(str(of_trained))}\n", done.output)
    assert (of_trained / "weights.safetensors").stat().st_mtime_ns == before
    done = runner.invoke(app, [*args, "--zoo"])
    assert done.exit_code == 0, done.output
    zoo = of_trained.parents[1] / "zoo" / "fashion-small-w4-normal-s0"
    assert str(zoo) in done.output and (zoo / "card.json").is_file()


def test_relative_paths_are_those_of_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "start.pth").touch()
    found = cli._settings("tiny-imagenet:some/place", None, weights="start.pth")
    assert (found.dataset, found.weights) == (f"tiny-imagenet:{tmp_path / 'some/place'}", str(tmp_path / "start.pth"))
    plain = cli._settings("cifar10", "", weights=None)
    assert (plain.weights, plain.initial, plain.dataset, plain.models) == (None, None, "cifar10", None)
    assert cli._settings("cifar10", " normal, pgd-inf-8 ,", weights="none").models == ("normal", "pgd-inf-8")
    done = runner.invoke(app, ["train", "normal", "--weights", "nowhere.pth"])
    assert done.exit_code == 2 and f"there are no weights at {tmp_path / 'nowhere.pth'}" in done.output


@pytest.mark.parametrize(
    ("text", "value"), [("images=4", 4), ("levels=[2, 4.0]", [2, 4.0]), ("name = 'x=y'", "x=y"), ("eps=8/255", "8/255"), ("a=", "")]
)
def test_a_parameter_is_a_literal_or_its_text(text, value):
    assert cli.assignment(text) == (text.partition("=")[0].strip(), value)


def test_the_version_is_that_of_the_package():
    done = runner.invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"atviz {atviz.__version__}\n")


def test_evaluate_prints_the_same_numbers_as_json(of_trained):
    args = ["evaluate", str(of_trained), "--distortion", "saturate", "--levels", "2,1024", "--test-limit", "60"]
    table = pd.read_csv(io.StringIO(runner.invoke(app, args).stdout))
    assert pd.DataFrame(json.loads(runner.invoke(app, [*args, "--json"]).stdout)).equals(table)


def test_instruments_and_doctor_are_json_on_demand(tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    found = json.loads(runner.invoke(app, ["instruments", "--json"]).stdout)
    assert [row["name"] for row in found] == [i.name for i in INSTRUMENTS] and found[0]["levels"] == list(INSTRUMENTS[0].levels)
    done = runner.invoke(app, ["doctor", "--json"])
    assert json.loads(done.stdout)[0] == {"what": "atviz", "found": ANY, "todo": ""} and done.exit_code == 0
    disk.beside(tmp_path / "results" / "x").parent.mkdir()
    disk.beside(tmp_path / "results" / "x").write_text("half")
    done = runner.invoke(app, ["doctor", "--json"])
    assert done.exit_code == 1 and [line["what"] for line in json.loads(done.stdout) if line["todo"]] == ["interrupted writes"]


def test_train_prints_json_or_only_the_folder(of_trained):
    args = ["train", "normal", "--profile", "smoke", "--train-limit", "200", "--test-limit", "60"]
    (found,) = json.loads(runner.invoke(app, [*args, "--json"]).stdout)
    card = json.loads((of_trained / "card.json").read_text())
    assert found == {"name": "normal", "clean": card["metrics"]["clean"], "folder": str(of_trained)}
    assert runner.invoke(app, [*args, "--quiet"]).output == f"{of_trained}\n"


def test_a_quiet_run_prints_only_where_its_page_lies(tiny, tmp_path, write_notebook, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setattr(pipeline, "notebooks", lambda: [write_notebook(tmp_path / "nb", "91_x", "print(extra)")])
    args = ["run", "--profile", "smoke", "--train-limit", "200", "--test-limit", "60", "--models", "normal,fgsm-0.1", "--workers", "1"]
    quiet, loud = (runner.invoke(app, [*args, "--name", name, *more]) for name, more in (("a", ["--quiet"]), ("b", [])))
    assert (quiet.output, quiet.exit_code) == (f"{tmp_path / 'results' / 'a' / 'index.html'}\n", 0)
    assert "91_x: done in" in loud.stdout and "notebooks:" in loud.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="no make is installed: what it starts was not looked at")
@pytest.mark.parametrize(("user", "options"), [("0", " --allow-root"), ("1000", "")])
def test_make_lab_tells_jupyter_of_root_and_of_nobody_else(user, options, tmp_path):
    (tmp_path / "id").write_text(f"#!/bin/sh\necho {user}\n")
    (tmp_path / "id").chmod(0o755)
    for name in ("pyproject.toml", "constraints.txt", ".venv/.ready"):  # the last is the newest: nothing is to be installed
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    command = ["make", "--dry-run", "--no-print-directory", "--file", str(ROOT / "Makefile"), "lab"]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env={**os.environ, "PATH": path})
    assert done.stdout.splitlines()[-1] == f".venv/bin/jupyter lab{options} notebooks"
