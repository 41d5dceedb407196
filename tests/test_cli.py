"""The command line as a user types it."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from atviz import checkpoints, cli, shipped
from atviz.cli import app

runner = CliRunner()


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("cli")
    os.environ["ATVIZ_HOME"], before = str(home), os.environ["ATVIZ_HOME"]
    done = runner.invoke(app, ["train", "normal", "--profile", "smoke", "--train-limit", "200", "--test-limit", "60"])
    assert done.exit_code == 0, done.output
    yield next((home / "checkpoints" / "local").iterdir())
    os.environ["ATVIZ_HOME"] = before


def test_help_imports_nothing_heavy():
    code = "import sys; from typer.testing import CliRunner; from atviz.cli import app; r = CliRunner().invoke(app, ['--help']); assert r.exit_code == 0, r; "
    code += "heavy = {'torch', 'matplotlib', 'pandas', 'numpy', 'papermill'} & set(sys.modules); assert not heavy, heavy; print(r.output)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("run", "train", "evaluate", "report", "data", "models"):
        assert command in done.stdout


def test_models_are_listed_shown_and_verified(trained_folder):
    listed = runner.invoke(app, ["models", "list"]).output
    assert trained_folder.name in listed
    shown = json.loads(runner.invoke(app, ["models", "show", str(trained_folder)]).output)
    assert shown == checkpoints.read_card(trained_folder)
    assert runner.invoke(app, ["models", "verify", str(trained_folder)]).exit_code == 0


def test_a_card_that_claims_too_much_is_found_out(trained_folder, tmp_path):
    state, card = checkpoints.read(trained_folder)
    card["metrics"]["clean"] += 0.2
    checkpoints.save(tmp_path / "boast", state, card)
    assert runner.invoke(app, ["models", "verify", str(tmp_path / "boast")]).exit_code == 1


def test_evaluate_prints_the_sweep(trained_folder):
    done = runner.invoke(app, ["evaluate", str(trained_folder), "--distortion", "saturate", "--levels", "2,1024", "--test-limit", "60"])
    header, first, second = done.output.strip().splitlines()
    assert header == "model,distortion,level,n,top1,n_correct,acc_on_correct,ci_low,ci_high"
    assert first.split(",")[1:4] == ["saturate", "2.0", "60"]
    assert float(first.split(",")[6]) == 1.0  # level 2 is the identity
    assert second.split(",")[2] == "1024.0"


def test_evaluate_refuses_images_that_the_network_was_not_trained_for(trained_folder):
    done = runner.invoke(app, ["evaluate", str(trained_folder), "--distortion", "saturate", "--levels", "2", "--dataset", "shapetex"])
    assert done.exit_code == 2
    assert (
        "have 3 channels and 8 classes, disc the first" in done.output
        and "trained on fashion, with 1 channels and 10 classes" in done.output
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["run", "--adain", "a,b,c"], "adain is 'a,b,c'; it must be small, a folder, or two files"),
        (["train", "nrmal"], "did you mean 'normal'"),
        (["evaluate", "nowhere", "--distortion", "saturate", "--levels", "4"], "there is no checkpoint in nowhere"),
        (["evaluate", "nowhere", "--distortion", "saturate", "--levels", "four"], "write numbers by commas"),
        (["report", "nowhere"], "nowhere holds no run"),
        (["data", "check", "fashin"], "did you mean 'fashion'"),
        (["data", "fetch", "imagenet:nowhere"], "put ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar"),
        (["train", "normal", "--preset", "itazury"], "known are paper, code, itazuri"),
        (["models", "show", "nowhere"], "there is no checkpoint in nowhere"),
    ],
)
def test_a_mistake_gets_a_sentence(args, message, trained_folder):
    done = runner.invoke(app, args)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output


def test_data_check_tells_what_is_there():
    done = runner.invoke(app, ["data", "check", "fashion"])
    assert "train: 10000 images, 1x28x28, 10 classes" in done.output
    assert "test: 2000 images" in done.output


def test_relative_paths_are_those_of_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "start.pth").touch()
    found = cli._settings("tiny-imagenet:some/place", "", weights="start.pth")
    assert (found.dataset, found.weights) == (f"tiny-imagenet:{tmp_path / 'some/place'}", str(tmp_path / "start.pth"))
    assert (plain := cli._settings("cifar10", "", weights="")).weights == "none" and plain.dataset == "cifar10"
    done = runner.invoke(app, ["train", "normal", "--weights", "nowhere.pth"])
    assert done.exit_code == 2 and f"there are no weights at {tmp_path / 'nowhere.pth'}" in done.output


def test_a_checkpoint_that_is_no_classifier_is_refused_by_what_it_is():
    done = runner.invoke(app, ["models", "verify", str(shipped("checkpoints", "adain-small"))])
    assert done.exit_code == 2
    assert "holds no classifier; its card says it is adain" in done.output
