"""The short forms of networks, distortions and levels, and what is refused."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from atviz.data import Images
from atviz.evidence.wanted import as_levels, as_module, as_modules, usable
from atviz.models import Network

NET = nn.Flatten()
NETWORK = Network("net", NET, [], (1, 1, 2))


def test_networks_get_names():
    assert as_modules(NET) == {"model": NET}
    assert as_modules(NETWORK) == {"net": NET} and as_module(NETWORK) is NET
    assert list(as_modules(OrderedDict(b=NET, a=NETWORK)).items()) == [("b", NET), ("a", NET)]
    assert as_modules({}) == {}


@pytest.mark.parametrize("thing", ["net", None, [NET], NET.forward, {"net": "net"}, {"net": None}])
def test_what_is_no_network_is_refused(thing):
    kind = type(next(iter(thing.values())) if isinstance(thing, dict) else thing).__name__
    with pytest.raises(TypeError, match=f"the network is of type {kind}; it must be a torch.nn.Module, or a Network"):
        as_modules(thing)


def negative(x):
    return 1 - x


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"saturate": [4, 1024]}, {"saturate": [4, 1024]}),
        ({"saturate": 4, "reverse": (1,), "low_pass_code": 3.5}, {"saturate": [4], "reverse": [1], "low_pass_code": [3.5]}),
        ({"saturate": np.float32(4), "patch_shuffle": range(2, 4)}, {"saturate": [4], "patch_shuffle": [2, 3]}),
        ({"saturate": np.array([0.5, 2])}, {"saturate": [0.5, 2]}),
        ({"negative": {1: negative}}, {"negative": {1: negative}}),
        ("saturate", {"saturate": None}),
        (["saturate", "reverse"], {"saturate": None, "reverse": None}),
        ({}, {}),
    ],
)
def test_levels_of_each_distortion(given, expected):
    assert as_levels(given) == expected


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        (4, TypeError, "distortions is of type int; it must be a name such as 'saturate'"),
        (None, TypeError, "distortions is of type NoneType"),
        ([4], TypeError, "distortions is of type list"),
        (negative, TypeError, "distortions is of type function"),
        ({"saturate": "4"}, TypeError, "a level of saturate is of type str; it must be a number"),
        ({"saturate": None}, TypeError, "a level of saturate is of type NoneType"),
        ({"saturate": [4, "8"]}, TypeError, "a level of saturate is of type str"),
        ({"negative": negative}, TypeError, "a level of negative is of type function; .* a dictionary of level to function"),
        ({"negative": {1: 2}}, TypeError, "negative has a dictionary of other things; it must be of levels, each with its function"),
        ({"negative": {"strong": negative}}, TypeError, "negative has a dictionary of other things"),
        ("saturation", ValueError, "did you mean 'saturate'"),
        (["saturate", "sharpen"], ValueError, "unknown distortion 'sharpen'"),
        ("low_pass_code", ValueError, "low_pass_code has no levels of its own; name some, such as {'low_pass_code': .4, 8.}"),
        ("saturate/brightness", ValueError, "saturate/brightness has no levels of its own"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, error, sentence):
    with pytest.raises(error, match=sentence):
        as_levels(given)


def test_usable_levels_are_those_that_suit_the_images():
    sized = lambda side: Images(torch.zeros(1, 1, side, side, dtype=torch.uint8), torch.tensor([0]), ["a"])
    assert usable("patch_shuffle", sized(28)) == [2, 4, 7] and len(usable("saturate", sized(29))) == 9
    with pytest.raises(ValueError, match="patch_shuffle has no level that suits images of 29 × 29 pixels"):
        usable("patch_shuffle", sized(29))
