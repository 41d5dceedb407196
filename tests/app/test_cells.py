"""The cells of a grid: what their names depend on, and what is measured in them."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from atviz import attacks, disk, evidence
from atviz.app import cells
from atviz.notebook import Settings
from atviz.training import Trainer

USUAL = ("saturate", "gaussian_blur", "median_filter", "low_pass", "high_pass", "random_modes", "patch_shuffle")
TINY = {"profile": "smoke", "train_limit": 100, "test_limit": 50, "models": ("normal", "fgsm-0.1")}


def names(*distortions, **changes):
    return [cell.name for cell in cells.grid([Settings(**TINY | changes)], distortions or ["saturate"])]


def test_the_usual_distortions_have_a_claim_and_need_no_material():
    assert cells.usual_distortions() == USUAL
    cells.check_distortions(USUAL)


def test_a_cell_is_named_by_all_that_it_depends_on_and_by_nothing_else():
    plain = names()
    assert plain == names() and len(set(plain)) == 2
    assert plain[0].startswith("fashion-normal-s0-") and plain[1].startswith("fashion-fgsm-0.1-s0-")
    others = [
        {"seed": 1},
        {"epochs": 2},
        {"train_limit": 90},
        {"test_limit": 40},
        {"arch": "small-w8"},
        {"profile": "quick"},
        {"preset": "code"},
    ]
    found = [name for change in others for name in names(**change)] + names("patch_shuffle")
    assert len({*plain, *found}) == 2 + 2 * (len(others) + 1)
    # a network does not depend on those beside it, but underfit on the one whose accuracy it stops at
    three = {"models": ("normal", "underfit", "fgsm-0.1")}
    assert names(**three)[0] == plain[0] and names(**three)[2] == plain[1]
    assert names(**three)[1] != names(models=("normal", "underfit", "fgsm-0.05"))[1]


def test_images_given_by_a_path_are_part_of_the_name(tmp_path):
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        for kind in ("cat", "dog"):
            (tmp_path / "pets" / split / kind).mkdir(parents=True)
            for i in range(3):
                Image.fromarray(draw.integers(0, 255, (8, 8, 3), np.uint8)).save(tmp_path / "pets" / split / kind / f"{i}.png")
    pets = {"dataset": f"folder:{tmp_path / 'pets'}"}
    before = names(**pets)
    assert before[0].startswith("pets-normal-s0-") and before == names(**pets)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "pets" / "test" / "cat" / "0.png")
    assert not set(before) & set(names(**pets))


def test_a_cell_holds_the_same_rows_as_the_measurements_themselves(tiny, tmp_path):
    (cell, _) = cells.grid([tiny], ["saturate", "reverse"])
    path = tmp_path / "cell.json"
    assert not cells.finished(path)
    cells.measure(cell, path)
    assert cells.finished(path)
    found = json.loads(path.read_text())
    assert (found["dataset"], found["model"], found["seed"], found["classes"]) == ("fashion", "normal", 0, 10)
    network, test = Trainer(tiny).obtain("normal"), tiny.images.test
    clean, robust, *rows = found["rows"]
    accuracy = evidence.accuracy(network.module, test)
    assert (clean["measure"], clean["top1"], clean["n"], clean["level"]) == ("clean", accuracy["top1"], 60, None)
    attack = partial(attacks.pgd, eps=0.1, step_size=0.025, steps=tiny.scale.eval_steps)
    attacked = evidence.robust_accuracy(network.module, test, attack=attack)
    assert (robust["measure"], robust["level"], robust["top1"], robust["acc_on_correct"]) == (
        "robust", 0.1, attacked["robust"], attacked["defense_success"],
    )  # fmt: skip
    mean = tuple(round(value, 4) for value in tiny.images.train.channel_stats()[0])
    levels = {name: evidence.find(name).usable(test.shape) for name in ("saturate", "reverse")}
    swept = evidence.sweep({"normal": network.module}, test, levels, material={"mean": mean})
    assert [
        [row[name] for name in ("measure", "level", "n", "top1", "n_correct", "acc_on_correct", "ci_low", "ci_high")] for row in rows
    ] == (swept.drop(columns="model").values.tolist())
    # finished, it is not done again; of another version, it is
    before = path.stat().st_mtime_ns
    cells.measure(cell, path)
    assert path.stat().st_mtime_ns == before
    disk.write_json(path, found | {"version": "0"})
    assert not cells.finished(path)


def test_a_distortion_that_the_images_do_not_allow_is_refused(tiny):
    cell = cells.grid([Settings(**TINY | {"size": 29})], ["saturate", "patch_shuffle"])[0]
    with pytest.raises(ValueError, match=r"^patch_shuffle has no level for the 1x29x29 images of fashion; leave it out, or set --size$"):
        cells.check_images(cell)
