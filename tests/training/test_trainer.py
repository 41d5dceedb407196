"""A trainer trains what has no checkpoint, once, and reads it ever after."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from atviz import models
from atviz.data import Streamed
from atviz.models import checkpoints
from atviz.training import Plan, Trainer, card_table, drawn, fit, loop, untrained

YEAR = 365 * 86400
SMALL = {"profile": "smoke", "train_limit": 300, "test_limit": 100}


@pytest.fixture(scope="module")
def trainer():
    found = Trainer(Plan(**SMALL))
    assert list(found.networks) == ["normal", "underfit", "pgd-inf-0.1"]
    return found


def trained_again(*_, **__):
    pytest.fail("trained again")


def test_networks_have_roles_classes_and_shapes(trainer):
    networks, test = trainer.networks, trainer.plan.images.test
    assert {name: network.role for name, network in networks.items()} == {
        "normal": "baseline",
        "underfit": "other",
        "pgd-inf-0.1": "subject",
    }
    for name, network in networks.items():
        assert (network.name, network.classes, network.shape) == (name, test.classes, test.shape)
        assert not network.module.training
        network.check_fits(test)


def test_a_second_trainer_trains_nothing(trainer, monkeypatch):
    monkeypatch.setattr(loop, "fit", trained_again)
    again = Trainer(Plan(**SMALL)).networks
    assert [models.fingerprint(n.module) for n in again.values()] == [models.fingerprint(n.module) for n in trainer.networks.values()]


def test_what_training_depends_on_names_its_checkpoint(trainer):
    here = trainer.folder("pgd-inf-0.1")
    for change in ({"seed": 1}, {"epochs": 3}, {"train_limit": 299}, {"arch": "small-w8"}, {"train_steps": 2}, {"test_limit": 99}):
        assert Trainer(Plan(**SMALL | change)).folder("pgd-inf-0.1") != here
    assert Trainer(Plan(**SMALL | {"models": ("normal", "pgd-inf-0.1")})).folder("pgd-inf-0.1") == here
    code = SMALL | {"models": ("normal", "spatial", "pgd-inf-8"), "preset": "code"}
    assert Trainer(Plan(**code)).folder("normal") != Trainer(Plan(**code | {"preset": "paper"})).folder("normal")


def test_names_of_checkpoints_from_scratch_are_what_they_were():
    for plan in (Plan(), Plan(weights="none")):
        assert Trainer(plan).folder("normal").name == "fashion-small-normal-s0-89aecb20e6"


@pytest.mark.parametrize("clock", ["goes on", "is moved back a year"])
def test_an_interrupted_training_goes_on_from_its_last_epoch(monkeypatch, clock):
    plan, keep = Plan(**SMALL, seed=8, epochs=2), loop.keep
    whole = models.fingerprint(Trainer(plan).obtain("normal").module)
    folder = Trainer(plan).folder("normal")
    folder.rename(folder.with_name("whole"))

    def keep_then_stop(path, saved, done, of):
        keep(path, saved, done, of)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "keep", keep_then_stop)
        Trainer(plan).obtain("normal")
    kept = folder.with_name(folder.name + ".training")
    assert kept.is_file() and not folder.exists()
    if clock == "is moved back a year":  # what was written lies in the future
        now = time.time()
        for path in [kept, *folder.parent.rglob("*")]:
            os.utime(path, (now + YEAR, now + YEAR))
        ago = time.monotonic() - now + YEAR
        monkeypatch.setattr(time, "time", lambda: time.monotonic() - ago)
        monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * (time.monotonic() - ago)))
    assert models.fingerprint(Trainer(plan).obtain("normal").module) == whole
    assert not kept.exists()
    for name in (folder, folder.with_name("whole")):  # the next case trains anew
        shutil.rmtree(name)


def test_underfit_is_stopped_at_the_subjects_accuracy(trainer):
    assert trainer.recipe("underfit").stop_at == trainer.networks.subject.card["metrics"]["clean"]
    assert trainer.recipe("normal").stop_at is None


@pytest.mark.filterwarnings("ignore:underfit never reached")  # one epoch need not be enough
def test_underfit_alone_trains_the_subject_first():
    trainer = Trainer(Plan(**SMALL, seed=5))
    underfit = trainer.obtain("underfit")
    assert checkpoints.exists(trainer.folder("pgd-inf-0.1")) and not checkpoints.exists(trainer.folder("normal"))
    assert underfit.card["recipe"]["stop_at"] == checkpoints.read_card(trainer.folder("pgd-inf-0.1"))["metrics"]["clean"]


def test_a_spatial_network_is_trained_and_described():
    networks = Trainer(Plan(**SMALL, models=("normal", "spatial"))).networks
    card = networks["spatial"].card
    assert (card["recipe"]["attack"], card["recipe"]["tv_weight"], card["recipe"]["steps"]) == ("spatial", 0.05, 1)
    assert 0 <= card["metrics"]["probe"] <= card["metrics"]["clean"] + 0.011
    assert "spatial, 1 steps" in card_table(networks)["trained on"].tolist()


@pytest.mark.parametrize("name", ["fgsm-rs-0.1", "n-fgsm-0.1-ema", "free-0.1", "trades-0.1"])
def test_a_recipe_of_a_later_paper_is_trained_kept_and_read(name):
    plan = Plan(**SMALL, models=("normal", name))
    trainer = Trainer(plan)
    network = trainer.networks[name]
    card = checkpoints.read_card(trainer.folder(name))
    assert card["recipe"] == json.loads(json.dumps(loop.describe(trainer.recipe(name)))) and network.role == "subject"
    assert f"-{name}-s0-" in trainer.folder(name).name
    brief = Trainer(Plan(**SMALL | {"train_steps": 3}, models=("normal", name)))
    assert (brief.folder(name) == trainer.folder(name)) == (name != "trades-0.1")
    assert models.load(trainer.folder(name)).name == name


def test_a_card_tells_how_to_make_the_network_again(trainer):
    folder = trainer.folder("pgd-inf-0.1")
    card = checkpoints.read_card(folder)
    assert card["recipe"]["eps"] == 0.1
    assert card["recipe"]["steps"] == 1
    assert card["data"]["train"] == 300
    assert card["data"]["train_digest"] == trainer.plan.images.train.digest
    assert card["versions"]["torch"] == torch.__version__
    assert "/" not in card["data"]["name"]  # no path of this machine
    assert not folder.with_name(folder.name + ".training").exists()


def test_a_network_answers_as_it_did_when_its_card_was_written(trainer):
    test = trainer.plan.images.test
    for network in trainer.networks.values():
        hits = models.predict(network.module, test.batches(100))[:, 0] == test.y
        assert hits.float().mean().item() == pytest.approx(network.card["metrics"]["clean"], abs=0.011)


def test_an_untrained_network_is_of_the_same_architecture_and_drawn_by_the_seed(trainer):
    network = trainer.networks.baseline
    found, expected, start = untrained(network, 1), drawn(network.card["model"], 1), drawn(network.card["model"], 0)
    assert models.fingerprint(found) == models.fingerprint(expected) != models.fingerprint(start)
    assert not found.training
    before = torch.get_rng_state()
    untrained(network, 3)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.filterwarnings("ignore::atviz.training.CatastrophicOverfitting")
def test_a_streamed_set_is_trained_and_read_again(tmp_path, monkeypatch):
    for split, n in (("train", 40), ("val", 20)):
        for label, name in enumerate("ab"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(n):
                Image.fromarray(np.full((24, 20, 3), 200 * label + i % 40, dtype=np.uint8)).save(tmp_path / split / name / f"{i}.png")
    plan = Plan(f"imagenet:{tmp_path}", "smoke", arch="small-w4", size=66, train_limit=64, test_limit=20, preset="itazuri")
    trainer = Trainer(plan)
    assert isinstance(plan.images.train, Streamed) and trainer.recipe("normal").augment == "resized-crop-flip"
    card = trainer.networks["fgsm-0.005"].card
    assert card["model"]["image_size"] == 66 and card["data"]["train_digest"] == plan.images.train.digest
    monkeypatch.setattr(loop, "fit", trained_again)
    again = Trainer(plan).networks
    assert [models.fingerprint(n.module) for n in again.values()] == [models.fingerprint(n.module) for n in trainer.networks.values()]


# --- weights to start from


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Tiny ImageNet's layout: two classes, bright above and bright below, 16 pixels, 20 + 6 images of each."""
    root, draw, rows = tmp_path_factory.mktemp("sets") / "tiny-imagenet-200", np.random.default_rng(0), []
    for c, wnid in enumerate(["n01", "n02"]):
        for i in range(26):
            pixels = draw.integers(0, 100, (16, 16, 3), dtype=np.uint8)
            pixels[8 * c : 8 * c + 8] += 120
            name = f"{wnid}_{i}.JPEG"
            path = root / "train" / wnid / "images" / name if i < 20 else root / "val" / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            rows += [f"{name}\t{wnid}\t0\t0\t15\t15\n"] if i >= 20 else []
    (root / "wnids.txt").write_text("n01\nn02\n")
    (root / "words.txt").write_text("n01\tup\nn02\tdown\n")
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    return root


@pytest.fixture
def weights(tmp_path):
    """A bare network's weights with the large stem and a head for seven classes."""
    torch.manual_seed(5)
    path = tmp_path / "start.safetensors"
    save_file(models.build("small-w4", num_classes=7, small_stem=False).network.state_dict(), path)
    return path


def test_training_starts_from_weights_and_its_card_says_so(tiny, weights, monkeypatch):
    trainer, begun = Trainer(Plan(f"tiny-imagenet:{tiny}", "smoke", size=32, epochs=2, weights=str(weights))), {}

    def watched(model, recipe, *args, **kwargs):
        begun.update({name: tensor.clone() for name, tensor in model.network.state_dict().items()}, recipe=recipe)
        return fit(model, recipe, *args, **kwargs)

    monkeypatch.setattr(loop, "fit", watched)
    network = trainer.obtain("normal")
    given = models.read_state(weights)
    assert all(torch.equal(begun[name], tensor) for name, tensor in given.items() if not name.startswith("fc."))
    assert begun["fc.weight"].shape[0] == 2  # a new head
    assert (begun["recipe"].lr, begun["recipe"].augment, begun["recipe"].epochs) == (0.01, "flip", 2)

    folder = trainer.folder("normal")
    card = checkpoints.read_card(folder)
    assert card["started_from"] == {"file": "start.safetensors", "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    assert card["model"]["standardize"] and card["model"]["image_size"] == 32 and not card["model"]["small_stem"]
    assert str(tiny.parent) not in json.dumps(card) and str(weights.parent) not in json.dumps(card)
    assert folder.name.startswith("tiny-imagenet-small-w4-normal-")
    x, _ = next(trainer.plan.images.test.batches(4))
    assert x.shape == (4, 3, 32, 32) and torch.equal(models.load(folder).module(x), network.module(x))


def test_the_content_of_the_weights_names_the_checkpoint(tiny, weights, tmp_path):
    name = lambda path: Trainer(Plan(f"tiny-imagenet:{tiny}", "smoke", size=16, weights=str(path))).folder("normal").name
    first = name(weights)
    assert name(weights.rename(tmp_path / "renamed.safetensors")) == first
    save_file({n: t + 1 for n, t in models.read_state(tmp_path / "renamed.safetensors").items()}, weights)
    assert len({name(weights), name("none"), first}) == 3


@pytest.mark.filterwarnings("ignore::atviz.training.CatastrophicOverfitting")  # an epoch of 40 images decides nothing
def test_enlarged_images_train_at_their_side(tiny):
    trainer = Trainer(Plan(f"tiny-imagenet:{tiny}", "smoke", size=24))
    test = trainer.plan.images.test
    assert test.x.shape[2:] == (16, 16) and test.shape == (3, 24, 24)
    network = trainer.obtain("normal")
    assert network.card["model"]["image_size"] == 24 and network.shape == (3, 24, 24)
    assert len(models.predict(network.module, test.batches(5))) == 12


KILLS = int(os.environ.get("ATVIZ_KILLS", "5"))
KILLED = """
import os, random, signal, sys, time, warnings
from pathlib import Path
import torch
from atviz import models
from atviz.training import Plan, Trainer, make_fabric
warnings.simplefilter("ignore")
torch.set_num_threads(1)
make_fabric()  # what it imports takes longer than the training
plan = dict(profile="smoke", train_limit=128, test_limit=32, arch="small-w4", epochs=8, models=("normal", "fgsm-0.1"))
rng, kills, trainings = random.Random(0), 0, 0

def child(seed, models):
    pid = os.fork()
    if pid == 0:
        trainer = Trainer(Plan(**plan, seed=seed))
        trainer.obtain("fgsm-0.1")
        os._exit(0)
    return pid

def home(name):
    os.environ["ATVIZ_HOME"] = str(Path(sys.argv[1]) / name)

def weights():
    (path,) = Path(os.environ["ATVIZ_HOME"]).glob("checkpoints/local/*fgsm*/weights.safetensors")
    return path.read_bytes()

seed = 0
while kills < int(sys.argv[2]):
    home(f"whole{seed}")
    began = time.monotonic()
    assert os.waitpid(child(seed, models), 0)[1] == 0
    took = time.monotonic() - began
    home(f"killed{seed}")
    while True:
        pid, end = child(seed, models), time.monotonic() + rng.uniform(0.02, took)
        while time.monotonic() < end and (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
            time.sleep(0.005)
        if ended != (0, 0):
            assert ended[1] == 0
            break
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        kills += 1
    found = weights()
    home(f"whole{seed}")
    assert found == weights(), seed
    seed, trainings = seed + 1, trainings + 1
print(kills, trainings)
"""


def test_a_training_that_is_killed_at_any_moment_ends_with_the_same_weights(tmp_path):
    """Children of one process, which loads torch once; each is killed after a random time, until one comes to its end."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(KILLS)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    kills, trainings = map(int, done.stdout.split())
    print(f"{kills} kills in {trainings} trainings")
    assert kills >= KILLS
    assert not [path for path in tmp_path.rglob("killed*/checkpoints/local/*") if path.name.endswith((".training", ".before"))]


def test_two_equal_trainings_at_once_are_one(tmp_path):
    command = [sys.executable, "-c", "from atviz.app.cli import app; app()", "train", "normal", "--profile", "smoke", "--train-limit", "200",
               "--test-limit", "60", "--epochs", "10"]  # fmt: skip
    env = {**os.environ, "ATVIZ_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    (folder,) = [path for path in tmp_path.glob("checkpoints/local/*") if path.is_dir()]
    assert checkpoints.exists(folder)
    waited = [err for _, err in said if "waiting for it" in err]
    assert len(waited) <= 1 and all(re.search(rf"{folder.name}\.training is in use by (another )?process", err) for err in waited)
