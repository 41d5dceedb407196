"""Classes that fit: a network of many classes is judged on those of the images."""

import pytest
import torch
from torch import nn

from atviz import models
from atviz.data import Images
from atviz.models.classes import CIFAR10, CIFAR100, imagenet_ids
from atviz.models.outside import Found, Options, network_of


class Scores(nn.Module):
    """Fixed random logits of the first pixel: a network of any number of classes."""

    def __init__(self, classes):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, classes))

    def forward(self, x):
        return x.flatten(1) @ self.weight


def images(classes, name="mine"):
    count = len(classes)
    x = torch.randint(0, 256, (count, 3, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Images(x, torch.arange(count), list(classes), name)


def network(count, classes=(), name="theirs"):
    return network_of(name, Found(Scores(count), name, size=2, channels=3, classes=list(classes)), Options())


def restricted(found, given, mapping=None):
    """The fitted network, its logits and all logits of the given one."""
    fits = models.fitted(given, found, mapping)
    x, _ = next(found.batches(10))
    return fits, fits.module(x), given.module(x)


TEN = [
    "tench",
    "goldfish",
    "English springer",
    "cassette player",
    "chain saw",
    "church",
    "French horn",
    "garbage truck",
    "gas pump",
    "parachute",
]
PLACES = [0, 1, 217, 482, 491, 497, 566, 569, 571, 701]


@pytest.mark.parametrize(
    "written",
    [
        lambda place, name: name,
        lambda place, name: name.lower().replace(" ", "_"),
        lambda place, name: imagenet_ids()[place],
        lambda place, name: f"{imagenet_ids()[place]}-{name}",
    ],
    ids=["names", "other case and underscores", "WordNet ids", "WordNet ids with names"],
)
@pytest.mark.parametrize("known", [True, False], ids=["named", "unnamed"])
def test_a_network_of_imagenet_is_judged_on_the_ten_classes_of_a_folder(written, known):
    folder = images([written(place, name) for place, name in zip(PLACES, TEN, strict=True)])
    given = network(1000, models.imagenet_names() if known else [])
    fits, logits, everything = restricted(folder, given)
    assert torch.equal(logits, everything[:, PLACES])
    assert fits.classes == folder.classes and "10 of its 1000 classes" in fits.card["fitted"]
    assert ("taken for ImageNet's" in fits.card["fitted"]) != known
    fits.check_fits(folder)


def test_a_synonym_is_understood_unless_it_is_another_class():
    _, logits, everything = restricted(images(["Carassius auratus", "crane"]), network(1000, models.imagenet_names()))
    assert torch.equal(logits, everything[:, [1, 517]])  # not the crane bird, 134


@pytest.mark.parametrize(
    ("count", "classes", "places", "known"),
    [
        (10, ["truck", "cat"], [9, 3], True),
        (10, ["truck", "cat"], [9, 3], False),
        (100, ["Aquarium fish", "worm"], [1, 99], True),
        (100, ["Aquarium fish", "worm"], [1, 99], False),
        (10, CIFAR10[::-1], [*range(9, -1, -1)], True),
    ],
)
def test_a_network_of_cifar_is_judged_by_the_names(count, classes, places, known):
    names = {10: CIFAR10, 100: CIFAR100}[count]
    _, logits, everything = restricted(images(classes), network(count, names if known else []))
    assert torch.equal(logits, everything[:, places])


def test_a_network_with_the_images_classes_stays_as_it_is():
    given = network(3, ["a", "b", "c"])
    assert models.fitted(given, images("abc")) is given


def test_as_many_classes_as_the_images_are_taken_for_theirs():
    given = network(3)
    fits = models.fitted(given, images("abc"))
    assert fits.module is given.module and fits.classes == ["a", "b", "c"]
    assert fits.card["fitted"] == "its 3 classes are taken for the images' own, in their order"


def test_a_table_maps_classes_by_name_and_by_number_and_adds_probabilities(tmp_path):
    table = tmp_path / "classes.csv"
    table.write_text("\ufeffcat,tabby cat\ncat,282\n\ndog,English springer\n")
    mapping = models.read_mapping(table)
    assert mapping == {"cat": ["tabby cat", "282"], "dog": ["English springer"]}
    given = network(1000, models.imagenet_names())
    fits, logits, everything = restricted(images(["Dog", "cat"]), given, mapping)
    chosen = everything[:, [217, 281, 282]].softmax(1)  # tabby is 281, tiger cat 282
    torch.testing.assert_close(logits.softmax(1), torch.stack([chosen[:, 0], chosen[:, 1] + chosen[:, 2]], 1))
    assert "by the given table" in fits.card["fitted"]
    _, numbered, everything = restricted(images(["x", "y"]), network(7), {"x": ["6"], "y": ["0"]})
    assert torch.equal(numbered, everything[:, [6, 0]])


def test_a_restricted_network_has_its_own_fingerprint_and_moves_as_one():
    given = network(10, CIFAR10)
    prints = {models.fingerprint(models.fitted(given, images(classes)).module) for classes in (["cat", "dog"], ["dog", "cat"], ["cat"])}
    assert len(prints | {models.fingerprint(given.module)}) == 4
    module = models.fitted(given, images(["cat", "dog"])).module
    assert module.to("meta").places.device.type == "meta" and "places" not in module.state_dict()


@pytest.mark.parametrize(
    ("given", "found", "mapping", "message"),
    [
        (network(10, CIFAR10), ["cat", "lynx"], None,
         r"classes of mine do not fit theirs: mine has 2 \(cat, lynx\), the network has 10 \(airplane, .*, …\), and none of them is called "
         "'lynx'; map them with --classes FILE, a CSV of two columns"),
        (network(7), ["cat", "dog"], None, r"the network has 7 \(0, 1, 2, 3, 4, …\), and none of them is called 'cat'"),
        (network(1000), ["maillot", "cranes"], None, "none of them is called 'cranes'"),
        (network(3, ["a", "A", "b"]), ["a", "b"], None, "'a' is the name of 2 of them"),
        (network(10, CIFAR10), ["cat", "dog"], {"cat": ["cat"]}, "the table has no line for 'dog'"),
        (network(10, CIFAR10), ["cat", "dog"], {"cat": ["cat"], "dog": ["10"]}, "none of them is called '10'"),
        (network(10, CIFAR10), ["cat", "dog"], {"cat": ["cat"], "dog": ["bird", "cat"]}, "class 'cat' of theirs stands for 'cat' and 'dog' of mine"),
    ],
)  # fmt: skip
def test_classes_that_do_not_fit_are_refused_with_both_sides(given, found, mapping, message):
    with pytest.raises(ValueError, match=message) as error:
        models.fitted(given, images(found), mapping)
    assert "\n" not in str(error.value)


def test_images_that_the_network_does_not_take_are_refused():
    with pytest.raises(ValueError, match=r"the network does not take images of \(3, 3, 3\)"):
        models.fitted(network(4), Images(torch.zeros(1, 3, 3, 3, dtype=torch.uint8), torch.tensor([0]), ["a", "b"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\n", "line 1 of .* is 'cat'; it must have two columns: a class of the images, a class of the network"),
        ("cat,1\ndog,2,3\n", "line 2 of .* is 'dog,2,3'"),
        ("cat,\n", "line 1 of .* is 'cat,'"),
        ("\n\n", "is empty; it must have a line for each class"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        models.read_mapping(tmp_path / "t.csv")
    with pytest.raises(FileNotFoundError, match="there is no file .*nowhere.csv; --classes names a CSV"):
        models.read_mapping(tmp_path / "nowhere.csv")


def test_the_names_of_imagenet_are_torchvisions():
    from torchvision.models import ResNet18_Weights

    assert models.imagenet_names() == ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    assert imagenet_ids() == sorted(set(imagenet_ids())) and len(imagenet_ids()) == 1000
    assert len(CIFAR100) == 100 == len(set(CIFAR100)) and CIFAR100 == sorted(CIFAR100)
