"""What single-step training buys, and catastrophic overfitting: provoked with FGSM, absent with N-FGSM (Wong et al. 2020, de Jorge et al. 2022)."""

import pytest
import torch
from torch import nn

from atviz import attacks, data, models, training
from atviz.training import loop, recipes


@pytest.fixture(scope="module")
def images():
    return data.load("fashion", "train", limit=1000, size=14), data.load("fashion", "test", limit=200, size=14)


class Centered(nn.Module):
    def forward(self, x):
        return 2 * x - 1


def trained(images, name, *, epochs, seed=0):
    """How a small network does after a training: history, and accuracy under FGSM and under PGD with 20 steps at the recipe's eps."""
    torch.manual_seed(seed)
    layers = []
    for before, after, stride in ((1, 8, 1), (8, 16, 2), (16, 16, 2)):
        layers += [nn.Conv2d(before, after, 3, stride=stride, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    model = nn.Sequential(Centered(), *layers, nn.Flatten(), nn.Linear(16 * 4 * 4, 10))
    recipe = recipes.get(name, epochs=epochs, batch_size=64, augment=None, weight_decay=0.0)
    fabric = training.make_fabric(accelerator="cpu", precision="32-true")
    report = training.fit(model, recipe, *images, seed=seed, fabric=fabric)
    x, y = next(images[1].batches(200))
    eps = recipe.eps or 0.1
    attacked = attacks.fgsm(model, x, y, eps=eps), attacks.pgd(model, x, y, eps=eps, step_size=eps / 4, steps=20)
    return report, *((models.predict(model, [(x_adv, y)])[:, 0] == y).float().mean().item() for x_adv in attacked)


@pytest.mark.filterwarnings("ignore::atviz.training.CatastrophicOverfitting")
def test_fgsm_overfits_catastrophically_where_n_fgsm_does_not(images, monkeypatch):
    # at eps 0.25, seeds 0 to 7: after FGSM .70 to .86 under FGSM and .00 to .015 under PGD; after N-FGSM .32 to .37 and .195 to .24
    monkeypatch.setattr(loop, "PROBE_IMAGES", 100)
    report, single, many = trained(images, "fgsm-0.25", epochs=40)
    assert single > 0.5 and many < 0.1
    assert report["collapsed_at"] is not None
    report, single, many = trained(images, "n-fgsm-0.25", epochs=40)
    assert many > 0.14 and many > single - 0.25


@pytest.fixture(scope="module")
def normal(images):
    return trained(images, "normal", epochs=12)[2]


@pytest.mark.parametrize("name", ["fgsm-rs-0.1", "n-fgsm-0.1-ema", "free-0.1", "trades-0.1"])
def test_each_recipe_buys_robustness_against_more_steps_than_it_takes(images, normal, name):
    report, single, many = trained(images, name, epochs=16)
    assert many > normal + 0.15 and many > single - 0.15
    assert report["collapsed_at"] is None
