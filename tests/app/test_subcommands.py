"""`atviz models`, `atviz data` and `atviz stylize`."""

import json

import pytest
import typer
from typer.testing import CliRunner

from atviz import shipped
from atviz.app.cli import app
from atviz.app.subcommands import plainly
from atviz.data import NAMES
from atviz.models import checkpoints

runner = CliRunner()


def test_models_are_listed_shown_and_verified(of_trained):
    listed = runner.invoke(app, ["models", "list"]).output
    assert of_trained.name in listed
    assert "fashion-small-pgd-inf-0.1-s0" in listed and "adain-small" not in listed
    shown = json.loads(runner.invoke(app, ["models", "show", str(of_trained)]).output)
    assert shown == checkpoints.read_card(of_trained)
    assert runner.invoke(app, ["models", "verify", str(of_trained)]).exit_code == 0


def test_a_card_that_claims_too_much_is_found_out(of_trained, tmp_path):
    state, card = checkpoints.read(of_trained)
    card["metrics"]["clean"] += 0.2
    checkpoints.save(tmp_path / "boast", state, card)
    done = runner.invoke(app, ["models", "verify", str(tmp_path / "boast")])
    assert (done.exit_code, "DIFFERS" in done.output) == (1, True)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["data", "check", "fashin"], "did you mean 'fashion'"),
        (["data", "fetch", "imagenet:nowhere"], "put ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar"),
        (["models", "show", "nowhere"], "there is no checkpoint in nowhere"),
        (["models", "verify", "--dataset", "svhn"], "the zoo holds no networks of svhn"),
        (["stylize", "train", "--out", "x", "--encoder", "nowhere.pth"], "nowhere.pth"),
    ],
)
def test_a_mistake_gets_a_sentence(args, message, of_trained):
    done = runner.invoke(app, args)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output


def test_a_checkpoint_that_is_no_classifier_is_refused_by_what_it_is():
    done = runner.invoke(app, ["models", "verify", str(shipped("checkpoints", "adain-small"))])
    assert done.exit_code == 2
    assert "holds no classifier; its card says it is adain" in done.output


def test_data_sets_are_listed_and_checked():
    assert runner.invoke(app, ["data", "list"]).output.split("\n")[:-1] == list(NAMES)
    done = runner.invoke(app, ["data", "check", "fashion"])
    assert "train: 10000 images, 1x28x28, 10 classes" in done.output
    assert "test: 2000 images" in done.output


@pytest.mark.parametrize(("error", "code"), [(ValueError, 2), (FileNotFoundError, 2), (OSError, 2), (FloatingPointError, 1)])
def test_what_the_user_got_wrong_is_told_and_what_we_got_wrong_is_not_hidden(error, code, capsys):
    def command():
        raise error("so it is")

    with pytest.raises(typer.Exit) as raised:
        plainly(command)()
    assert (raised.value.exit_code, capsys.readouterr().err) == (code, "atviz: so it is\n")
    with pytest.raises(TypeError):
        plainly(lambda: len(3))()
