"""Which images fit a network: what is recorded of it is compared, and of other networks one image is tried."""

import io
from copy import deepcopy

import pytest
import torch
from torch import nn

from atviz import models
from atviz.data import Images

CLASSES = ["bag", "boot", "hat"]


def images(classes=CLASSES, channels=1, height=16, width=16, n=4):
    return Images(torch.zeros(n, channels, height, width, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64), list(classes), "mine")


def known(module, classes=CLASSES, shape=(1, 16, 16)):
    return models.Network("net", module, list(classes), shape).module


class Raises(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


class Answers(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            images(["boot", "bag", "hat"]),
            "^mine has 3 classes and the network 3, and class 0 is 'boot' in mine and 'bag' for the network; .*order$",
        ),
        (images(["bag", "boot", "cap"]), "class 2 is 'cap' in mine and 'hat' for the network"),
        (images(["bag", "boot"]), "mine has 2 classes and the network 3, and class 2 is none in mine and 'hat' for the network"),
        (images([*CLASSES, "cap"]), "mine has 4 classes and the network 3, and class 3 is 'cap' in mine and none for the network"),
        (images(channels=3), "^the images of mine have 3 channels; the network takes images of 1 channel$"),
        (images(height=28, width=28), "are 28 × 28 pixels and the network takes 16 × 16; load .* size=16, or in the notebooks size = 16$"),
        (images(width=28), "are 16 × 28 pixels"),
    ],
)
def test_what_a_network_was_made_for_is_compared(given, message):
    module = known(Raises(AssertionError("tried although it is known")))
    models.check_fits(module, images())
    models.check_fits(deepcopy(module), images())
    for copy in (module, deepcopy(module)):
        with pytest.raises(ValueError, match=message):
            models.check_fits(copy, given)


def test_the_height_of_images_that_are_no_square_is_not_in_a_card():
    square = known(nn.Identity())
    models.check_fits(square, images(height=20))
    with pytest.raises(ValueError, match="are 20 × 16 pixels and the network takes 12 × 16"):
        models.check_fits(known(nn.Identity(), shape=(1, 12, 16)), images(height=20))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(256, 2)),
            r"^the network answers an image of mine with values of shape \(1, 2\); .* \(1, 3\), .* 3 classes$",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(256, 5)), r"shape \(1, 5\)"),
        (nn.Conv2d(3, 3, 16), r"^the network does not take images of \(1, 16, 16\): .*3 channels, but got 1"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 3)), r"does not take images of \(1, 16, 16\): .*shapes"),
        (Raises(KeyError("no such image")), r"does not take images of \(1, 16, 16\): 'no such image'"),
        (Raises(RuntimeError()), r"does not take images of \(1, 16, 16\): RuntimeError"),
        (Answers((torch.zeros(1, 3), None)), r"answers 1 images with a tuple; it must answer with logits"),
        (Answers(torch.zeros(3)), r"values of shape \(3,\)"),
    ],
)
def test_one_image_is_tried_where_nothing_is_known(model, message, untouched):
    with untouched(model), pytest.raises(ValueError, match=message):
        models.check_fits(model, images())
    models.check_fits(model, images(n=0))  # other checks refuse a set without images


def test_the_classes_are_compared_and_an_image_is_tried_where_the_shape_alone_is_unknown():
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    model.known = models.Known(CLASSES, None)
    with pytest.raises(ValueError, match="class 0 is 'hat'"):
        models.check_fits(model, images(["hat"]))
    with pytest.raises(ValueError, match=r"shape \(1, 2\)"):
        models.check_fits(model, images())


def test_a_network_is_left_as_it_was(mixed, untouched):
    class Draws(nn.Sequential):
        def forward(self, x):
            return super().forward(x) + torch.randn(len(x), 3)

    before = torch.get_rng_state()
    for model in (mixed, Draws(mixed)):
        with untouched(model):
            models.check_fits(model, images())
            with pytest.raises(ValueError, match="4 classes"):
                models.check_fits(model, images([*CLASSES, "cap"]))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_known_is_no_part_of_a_modules_state(mixed):
    before, mark = list(mixed.state_dict()), models.fingerprint(mixed)
    models.check_fits(known(mixed), images())
    assert (list(mixed.state_dict()), models.fingerprint(mixed)) == (before, mark)
    copy = deepcopy(mixed)
    assert models.known_of(copy) == models.known_of(mixed) == (CLASSES, (1, 16, 16))
    torch.save(mixed, packed := io.BytesIO())
    packed.seek(0)
    assert models.known_of(torch.load(packed, weights_only=False)) == (CLASSES, (1, 16, 16))


def test_a_network_of_a_checkpoint_knows_its_classes_and_its_size(tmp_path):
    shape = dict(arch="small-w4", num_classes=3, in_channels=1, image_size=16)
    card = {"model": shape, "recipe": {"name": "normal"}, "classes": CLASSES}
    models.checkpoints.save(tmp_path / "net", models.build(**shape).state_dict(), card)
    module = models.load(tmp_path / "net").module
    assert models.known_of(module) == (CLASSES, (1, 16, 16))
    models.check_fits(module, images())
    for _, copy in models.randomized(module):
        assert models.known_of(copy) == models.known_of(module)
