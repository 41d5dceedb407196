"""Networks from outside: the options of a reference, their order of precedence, and what a network answers."""

import math

import pytest
import torch
from torch import nn

from atviz import models
from atviz.models.inference import answered
from atviz.models.outside import Found, Options, network_of


class Means(nn.Module):
    """logits = the mean of each channel."""

    def forward(self, x):
        return x.mean((2, 3))


def found(**changes):
    return Found(Means(), "means", **({"channels": 3} | changes))


def test_options_are_taken_apart():
    given = {"mean": "0.5,0.25,1e-1", "std": ".5", "size": "224", "weights": "a b.pth", "trained": "adversarially"}
    assert Options.of(given) == Options((0.5, 0.25, 0.1), (0.5,), 224, "a b.pth", "adversarially")
    assert Options.of({}) == Options()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("maen", "0.5", "unknown option of a network 'maen'; did you mean 'mean'"),
        ("mean", "", "mean has no value"),
        ("mean", "half", "mean is 'half'; it must be a number in units of pixels from 0 to 1, or one for each channel"),
        ("mean", "0.5,", "mean is '0.5,'"),
        ("mean", "123.7", "mean is '123.7'; it must be a number in units of pixels from 0 to 1"),
        ("mean", "nan", "mean is 'nan'"),
        ("std", "0", "std is '0'; it must be a number above 0"),
        ("std", "inf", "std is 'inf'"),
        ("size", "0", "size is '0'; it must be a whole number of pixels"),
        ("size", "224.5", "size is '224.5'"),
        ("size", "²", "size is '²'"),
        ("trained", "well", "trained is 'well'; it must be normally or adversarially"),
    ],
)
def test_options_that_cannot_be_are_refused(name, text, message):
    with pytest.raises(ValueError, match=message) as error:
        Options.of({name: text})
    assert "\n" not in str(error.value)


def test_pixels_are_normalized_as_the_options_say_else_as_the_library_does():
    x = torch.rand(4, 3, 5, 5)
    for options, mean, std in [
        (Options(), (0.1, 0.2, 0.3), (0.5, 0.5, 0.5)),
        (Options(mean=(0.7,)), (0.7, 0.7, 0.7), (0.5, 0.5, 0.5)),
        (Options(mean=(0.3, 0.2, 0.1), std=(0.2,)), (0.3, 0.2, 0.1), (0.2, 0.2, 0.2)),
        (Options(mean=(0.0,), std=(1.0,)), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ]:
        network = network_of("n", found(mean=[0.1, 0.2, 0.3], std=[0.5] * 3), options)
        wanted = (x.mean((2, 3)) - torch.tensor(mean)) / torch.tensor(std)
        torch.testing.assert_close(network.module(x), wanted)
        assert (network.card["mean"], network.card["std"]) == (list(mean), list(std)) and not network.module.training
    plain = network_of("n", found(), Options())
    assert torch.equal(plain.module(x), x.mean((2, 3))) and plain.card["mean"] is None


def test_the_size_is_the_images_else_the_options_else_the_librarys():
    assert network_of("n", found(size=224), Options()).shape == (3, 224, 224)
    assert network_of("n", found(size=224), Options(size=160)).shape == (3, 160, 160)
    assert network_of("n", found(size=224), Options(size=160), size=64).shape == (3, 64, 64)
    assert network_of("n", found(), Options()).shape is None
    assert network_of("n", found(size=224), Options(size=160), size=64).card["size"] == 160  # what the network was made for


def test_channels_that_are_not_known_are_the_means_or_the_first_convolutions():
    def channels(module, **options):
        return network_of("n", Found(module, "n", size=8), Options(**options)).shape[0]

    assert channels(Means()) == channels(Means(), mean=(0.5,), std=(0.5,)) == 3
    assert channels(nn.Conv2d(1, 4, 3)) == channels(nn.Conv2d(1, 4, 3), mean=(0.5,), std=(0.5,)) == 1
    assert channels(Means(), mean=(0.5, 0.5), std=(0.5,)) == 2


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (Options(mean=(0.5,)), {}, "n has a mean and no std; give both"),
        (Options(std=(0.5,)), {}, "n has a std and no mean; give both"),
        (Options(mean=(0.5, 0.5), std=(0.5,)), {}, "mean of n has 2 values and the network takes images of 3 channels"),
        (Options(mean=(0.5,), std=(0.5, 0.5)), {"channels": 1}, r"std of n has 2 values .* 1 channel; .*\?mean=0.5&std=0.25$"),
        (Options(), {"mean": [123.7, 116.3, 103.5], "std": [58.0] * 3}, "mean of n is 123.7, which is in units of 0 to 255"),
    ],
)
def test_a_normalizer_that_cannot_be_is_refused(options, changes, message):
    with pytest.raises(ValueError, match=message):
        network_of("n", found(**changes), options)


def test_networks_of_the_same_weights_that_compute_otherwise_have_other_fingerprints():
    prints = {
        models.fingerprint(network_of("n", Found(Means(), identity, channels=3), options).module)
        for identity in ("a", "b")
        for options in (Options(), Options(mean=(0.5,), std=(0.5,)))
    }
    assert len(prints) == 4


def test_what_the_card_says():
    card = network_of("n", found(card={"trained": "normally", "library": "mine"}), Options(trained="adversarially")).card
    assert (card["outside"], card["library"], card["trained"], card["parameters"]) == (True, "mine", "adversarially", 0)


def test_a_network_is_asked_for_its_number_of_logits_and_left_as_it_was(mixed, untouched):
    x = torch.rand(2, 1, 28, 28)
    with untouched(mixed):
        state = torch.get_rng_state()
        assert answered(mixed, x) == 3
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x, r"answers 2 images with values of shape \(2, 3, 4, 4\); it must answer with logits, \(2, number of classes\)"),
        (lambda x: (x.mean((2, 3)),), "answers 2 images with a tuple"),
        (lambda x: x.mean((0, 2, 3))[None], r"values of shape \(1, 3\)"),
        (lambda x: x @ torch.zeros(9, 9), r"does not take images of \(3, 4, 4\): .*mat1 and mat2"),
        (lambda x: math.sqrt(-1), r"does not take images of \(3, 4, 4\): math domain error"),
    ],
)
def test_an_answer_that_is_no_logits_is_refused(answer, message):
    class Wrong(nn.Module):
        def forward(self, x):
            return answer(x)

    with pytest.raises(ValueError, match=message) as error:
        answered(Wrong(), torch.rand(2, 3, 4, 4))
    assert "\n" not in str(error.value)
