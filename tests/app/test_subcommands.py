"""`atviz models`, `atviz data` and `atviz stylize`."""

import json
import shutil

import pytest
import typer
from typer.testing import CliRunner

from atviz import disk, shipped
from atviz.app.cli import app
from atviz.app.subcommands import check_name, plainly
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


def test_a_network_is_shown_by_its_recipe_its_name_or_its_folder(of_trained):
    def shown(*args):
        done = runner.invoke(app, ["models", "show", *args])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert shown("normal") == shown("normal", "--json") == checkpoints.read_card(checkpoints.zoo("fashion")["normal"])
    assert shown("normal", "--dataset", "cifar10") == checkpoints.read_card(checkpoints.zoo("cifar10")["normal"])
    assert shown(of_trained.name) == shown(str(of_trained)) != shown("normal")


def test_a_folder_counts_before_a_recipe_of_the_same_name(of_trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(of_trained, tmp_path / "normal")
    assert json.loads(runner.invoke(app, ["models", "show", "normal"]).stdout) == checkpoints.read_card(of_trained)


def test_the_list_and_the_check_of_networks_are_json_on_demand(of_trained):
    rows = {row["name"]: row for row in json.loads(runner.invoke(app, ["models", "list", "--json"]).stdout)}
    card = checkpoints.read_card(of_trained)
    row = rows[of_trained.name]
    assert (row["recipe"], row["clean"], row["sha256"], row["folder"]) == (
        "normal",
        card["metrics"]["clean"],
        card["sha256"],
        str(of_trained),
    )
    assert runner.invoke(app, ["models", "list"]).stdout.count("\n") == len(rows) + 1
    checked = json.loads(runner.invoke(app, ["models", "verify", str(of_trained), "--json"]).stdout)
    assert checked[0] == {
        "name": of_trained.name, "measure": "clean", "found": pytest.approx(card["metrics"]["clean"]), "card": card["metrics"]["clean"], "same": True,
    }  # fmt: skip


def test_a_checkpoint_that_is_being_written_is_not_listed(of_trained, tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    half = disk.beside(tmp_path / "checkpoints" / "local" / "mine")
    shutil.copytree(of_trained, half)
    assert "mine" not in runner.invoke(app, ["models", "list"]).stdout


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
        (["models", "show", "some/where"], "there is no checkpoint in some/where"),
        (["models", "show", "nrmal"], "unknown network of fashion, or folder of a checkpoint, 'nrmal'; did you mean 'normal'?"),
        (["models", "show", "qqq", "--dataset", "svhn"], "for svhn ship none; `atviz models list` lists all"),
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
    assert json.loads(runner.invoke(app, ["data", "list", "--json"]).output) == list(NAMES)
    found = json.loads(runner.invoke(app, ["data", "check", "fashion", "--json"]).stdout)
    assert (found["name"], found["train"]["images"], found["test"]["shape"], len(found["test"]["classes"])) == (
        "fashion",
        10000,
        [1, 28, 28],
        10,
    )
    assert f"SHA-256 {found['test']['sha256'][:16]}…" in done.output


@pytest.mark.parametrize(("name", "good"), [("", True), ("mine", True), ("..", False), (".", False), ("a/b", False), ("records", False)])
def test_a_run_gets_a_folder_of_its_own_below_results(name, good):
    if good:
        check_name(name)
    else:
        with pytest.raises(ValueError, match=f"name is {name!r}"):
            check_name(name)


@pytest.mark.parametrize(("error", "code"), [(ValueError, 2), (FileNotFoundError, 2), (OSError, 2), (FloatingPointError, 1)])
def test_what_the_user_got_wrong_is_told_and_what_we_got_wrong_is_not_hidden(error, code, capsys):
    def command():
        raise error("so it is")

    with pytest.raises(typer.Exit) as raised:
        plainly(command)()
    assert (raised.value.exit_code, capsys.readouterr().err) == (code, "atviz: so it is\n")
    with pytest.raises(TypeError):
        plainly(lambda: len(3))()
