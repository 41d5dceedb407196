"""References: a checkpoint's folder, or a recipe whose network ships."""

import pytest
import torch

from atviz import models, shipped
from atviz.models import checkpoints


@pytest.fixture
def folder(tmp_path):
    shape = {"arch": "small-w4", "num_classes": 2, "in_channels": 1, "image_size": 16, "mean": [0.3], "std": [0.4]}
    network = models.build(**shape)
    checkpoints.save(tmp_path / "mine", network.state_dict(), {"model": shape, "recipe": {"name": "fgsm-8"}, "classes": ["bag", "boot"]})
    return tmp_path / "mine"


def test_a_folder_gives_the_network_that_was_saved(folder):
    state, card = checkpoints.read(folder)
    found = models.load(folder)
    assert (found.name, found.classes, found.shape, found.role) == ("fgsm-8", ["bag", "boot"], (1, 16, 16), "other")
    assert found.card == card and not found.module.training
    assert {name: t.tolist() for name, t in found.module.state_dict().items()} == {name: t.tolist() for name, t in state.items()}
    assert models.fingerprint(models.load(str(folder)).module) == models.fingerprint(found.module)
    assert models.load(folder, dataset="fashion").name == "fgsm-8"  # a folder comes before a recipe's name


@pytest.mark.parametrize(
    ("name", "dataset", "shape", "first"),
    [("normal", "fashion", (1, 28, 28), "T-shirt"), ("pgd-inf-8", "cifar10", (3, 32, 32), "airplane")],
)
def test_a_recipe_with_a_data_set_gives_the_network_that_ships(name, dataset, shape, first):
    found = models.load(name, dataset=dataset)
    assert (found.name, found.shape, found.classes[0], len(found.classes)) == (name, shape, first, 10)
    logits = found.module(torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 10) and {p.dtype for p in found.module.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("reference", "dataset", "error", "message"),
    [
        ("nowhere", None, FileNotFoundError, "there is no checkpoint in nowhere"),
        ("nrmal", "fashion", ValueError, "unknown network of fashion 'nrmal'; did you mean 'normal'"),
        ("normal", "svhn", ValueError, "unknown network of svhn 'normal'; the zoo holds no networks of svhn"),
        (shipped("checkpoints", "adain-small"), None, ValueError, "holds no classifier; its card says it is adain"),
    ],
)
def test_what_is_no_network_is_refused(reference, dataset, error, message):
    with pytest.raises(error, match=message):
        models.load(reference, dataset=dataset)
