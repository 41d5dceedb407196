"""Networks with roles, and which images fit a network."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from atviz import models
from atviz.data import Images

CLASSES = ["bag", "boot"]


def network(name, **changes):
    card = {"data": {"name": "shoes"}}
    return replace(models.Network(name, nn.Flatten(), CLASSES, (1, 4, 4), card), **changes)


def images(channels=1, classes=CLASSES):
    return Images(torch.zeros(2, channels, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]), classes, "mine")


def test_each_network_gets_its_role_and_keeps_its_place():
    given = [network("a", role="baseline"), network("b"), network("c")]
    found = models.Networks.of(given, baseline="c", subject="a")
    assert {name: n.role for name, n in found.items()} == {"a": "subject", "b": "other", "c": "baseline"}
    assert list(found) == list(found.modules) == ["a", "b", "c"]
    assert (found.baseline.name, found.subject.name) == ("c", "a")
    assert all(found.modules[n.name] is n.module for n in given)
    assert given[0].role == "baseline"  # the given ones stay as they were


def test_a_network_without_a_subject_is_alone():
    found = models.Networks.of([network("a"), network("b")], baseline="b")
    assert found.alone and found.baseline is found.subject is found["b"]
    assert not models.Networks.of(found.values(), baseline="b", subject="a").alone


def test_notes_say_what_was_done_to_a_networks_classes():
    plain, *changed = (
        replace(network(name), card={"fitted": said}) for name, said in (("a", ""), ("b", "judged"), ("c", "x"), ("d", "judged"))
    )
    assert models.Networks.of([plain, *changed], baseline="a").notes == ["b, d: judged", "c: x"]


def test_notes_say_that_architectures_differ():
    given = [replace(network(name), module=nn.Linear(3, width)) for name, width in (("a", 2), ("b", 2), ("c", 3))]
    assert models.Networks.of(given, baseline="a", subject="b").notes == []
    (said,) = models.Networks.of(given, baseline="a", subject="c").notes
    assert said == "a and c are of different architectures, and a difference can come from that"


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (dict(baseline="x", subject="a"), "there is no network 'x'; there are a, b"),
        (dict(baseline="a", subject="x"), "there is no network 'x'; there are a, b"),
        (dict(baseline="a", subject="a"), "baseline and subject are both 'a'"),
    ],
)
def test_roles_of_no_network_or_of_the_same_one_are_refused(roles, message):
    with pytest.raises(ValueError, match=message):
        models.Networks.of([network("a"), network("b")], **roles)


def test_an_unknown_role_is_refused():
    with pytest.raises(ValueError, match="role is 'hero'; it must be one of baseline, subject, other"):
        network("a", role="hero")


def test_a_network_records_on_its_module_what_it_knows():
    found = network("a")
    assert models.known_of(found.module) == (CLASSES, (1, 4, 4))
    assert models.known_of(replace(found, module=nn.Identity(), classes=[]).module) is None
    found.check_fits(images())
    with pytest.raises(ValueError, match=r"class 0 is 'boot' in mine and 'bag' for the network"):
        found.check_fits(images(classes=["boot", "bag"]))
    with pytest.raises(ValueError, match="of mine have 3 channels; the network takes images of 1 channel$"):
        found.check_fits(images(channels=3))


def test_a_network_of_unknown_classes_is_tried():
    found = models.Network("a", nn.Flatten(), [], (1, 1, 2))  # without a card, too
    found.check_fits(Images(torch.zeros(2, 1, 1, 2, dtype=torch.uint8), torch.tensor([0, 1]), CLASSES))
    with pytest.raises(ValueError, match=r"values of shape \(1, 16\)"):
        found.check_fits(images())
