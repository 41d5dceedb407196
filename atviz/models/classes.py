"""Classes that fit: a network of many classes is judged on those of the images, by restricting its logits."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from ..data import Images
from .inference import answered
from .network import Network

WORDNET = re.compile(r"(n\d{8})(?:\D|$)")  # n02085620-Chihuahua
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CIFAR100 = """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle caterpillar
    cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house
    kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
    otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew
    skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout
    tulip turtle wardrobe whale willow_tree wolf woman worm""".split()  # noqa: SIM905


class Restrict(nn.Module):
    """A network's logits, restricted to some of its classes: (N, len(groups)).

    ``groups`` holds, for each class of the images, the places of the network's classes that count as it. Several count together: their
    logit is log Σ exp, so that their probabilities add up. Probabilities are then those among the chosen classes alone.
    """

    def __init__(self, network: nn.Module, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.network = network
        self.groups = tuple(tuple(group) for group in groups)
        self.identity = f"restricted to {self.groups}"
        self.single = all(len(group) == 1 for group in self.groups)
        self.register_buffer("places", torch.tensor([place for group in self.groups for place in group]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x)[:, self.places]
        if self.single:
            return logits
        return torch.stack([part.logsumexp(1) for part in logits.split([len(group) for group in self.groups], 1)], 1)


@cache
def _imagenet() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    with Path(__file__).with_name("imagenet_classes.csv").open(newline="", encoding="utf-8") as file:
        return tuple((row["wordnet_id"], row["name"], tuple(filter(None, row["synonyms"].split("|")))) for row in csv.DictReader(file))


def imagenet_names() -> list[str]:
    """The names of ImageNet's 1,000 classes, in the order of the logits (ILSVRC 2012, by sorted WordNet id), as torchvision has them."""
    return [name for _, name, _ in _imagenet()]


def imagenet_ids() -> list[str]:
    """The WordNet ids of ImageNet's 1,000 classes, in the order of the logits."""
    return [wordnet for wordnet, *_ in _imagenet()]


def readable(classes: Sequence[str]) -> list[str]:
    """Class names to show: a WordNet id of one of ImageNet's classes becomes that class's name, any other name stays.

    >>> readable(["n01443537", "n02085620-Chihuahua", "cat"])
    ['goldfish', 'Chihuahua', 'cat']
    """
    names = {wordnet: name for wordnet, name, _ in _imagenet()}
    found = [WORDNET.match(name) for name in classes]
    return [names.get(match[1], name) if match else name for match, name in zip(found, classes, strict=True)]


def plain(name: str) -> str:
    """A name as it is compared: without case, with spaces for _ and -."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _places(classes: Sequence[str]) -> dict[str, set[int]]:
    """How each class may be written → its places. ImageNet's may also be written as their WordNet ids and synonyms."""
    found: dict[str, set[int]] = {}
    for place, name in enumerate(classes):
        found.setdefault(plain(name), set()).add(place)
    if list(classes) == imagenet_names():
        own = set(found)  # a synonym never hides the name of another class
        for place, (wordnet, _, synonyms) in enumerate(_imagenet()):
            for text in (wordnet, *synonyms):
                if plain(text) not in own:
                    found.setdefault(plain(text), set()).add(place)
    return found


def read_mapping(path: str | Path) -> dict[str, list[str]]:
    """A CSV of two columns, class of the images and class of the network (its name, or its number from 0): class → classes.

    A class of the images may have several lines. There is no header.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that does not have two columns, or no lines.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}; --classes names a CSV of two columns: a class of the images, a class of the network"
        )
    found: dict[str, list[str]] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.reader(file), 1):
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if len(cells) != 2 or not all(cells):
                raise ValueError(
                    f"line {number} of {path} is {','.join(row)!r}; it must have two columns: a class of the images, a class of the network"
                )
            found.setdefault(cells[0], []).append(cells[1])
    if not found:
        raise ValueError(f"{path} is empty; it must have a line for each class: a class of the images, a class of the network")
    return found


def fitted(network: Network, images: Images, mapping: Mapping[str, Sequence[str]] | None = None) -> Network:
    """The network as one of the images' classes, in their order; what had to be done is a sentence in its card, ``fitted``.

    A network that has these classes stays as it is. Of one that has more, or has them in another order, the logits are restricted
    (`Restrict`): by the names of the classes, of ImageNet's also by WordNet id, or by ``mapping`` (`read_mapping`). A network whose
    classes are not known has those of ImageNet if it has 1,000, else the images' own if it has as many, else those of CIFAR-10 or
    CIFAR-100 if it has as many as these.

    Raises:
        ValueError: classes that do not fit, with both sides and the option that maps them; images that the network does not take.
    """
    wanted, known, said = list(images.classes), list(network.classes), ""
    if known == wanted and not mapping:
        return network
    if not known:
        count = answered(network.module, torch.zeros(1, *images.shape))
        known, said = _assumed(count, wanted, mapping)
    if known == wanted and not mapping:
        return _changed(network, network.module, images, said)
    groups = _groups(network.name, known, images, mapping)
    how = (
        f"judged on {len(wanted)} of its {len(known)} classes" if len(wanted) < len(known) else "its classes are put into the images' order"
    )
    note = f"{how}{' (by the given table)' if mapping else ''}: logits of other classes are left out" if len(wanted) < len(known) else how
    return _changed(network, Restrict(network.module, groups), images, f"{said}{'; ' * bool(said)}{note}")


def _assumed(count: int, wanted: list[str], mapping: Mapping[str, Sequence[str]] | None) -> tuple[list[str], str]:
    """The classes of a network that names none, by their number, and a sentence that says so."""
    named = {1000: (imagenet_names(), "ImageNet's"), 100: (CIFAR100, "CIFAR-100's"), 10: (CIFAR10, "CIFAR-10's")}
    if count == len(wanted) and count != 1000 and not mapping:
        return wanted, f"its {count} classes are taken for the images' own, in their order"
    if count in named:
        classes, whose = named[count]
        return classes, f"its {count:,} classes are taken for {whose}"
    return [str(place) for place in range(count)], f"its {count} classes have no names"


def _groups(name: str, known: list[str], images: Images, mapping: Mapping[str, Sequence[str]] | None) -> list[list[int]]:
    """For each class of the images, the places of the network's classes that count as it."""
    places = _places(known)
    table = {plain(wanted): texts for wanted, texts in (mapping or {}).items()}
    groups: list[list[int]] = []
    for wanted in images.classes:
        group: list[int] = []
        for text in table.get(plain(wanted), ()) if mapping else (wanted,):
            found = _found(text, places, len(known) if mapping else 0)
            if len(found) != 1:
                raise _misfit(
                    name, known, images, f"{text!r} is the name of {len(found)} of them" if found else f"none of them is called {text!r}"
                )
            group += [place for place in found if place not in group]
        if not group:
            raise _misfit(name, known, images, f"the table has no line for {wanted!r}")
        groups.append(group)
    used = [place for group in groups for place in group]
    twice = next((place for place in used if used.count(place) > 1), None)
    if twice is not None:
        both = [wanted for wanted, group in zip(images.classes, groups, strict=True) if twice in group]
        raise ValueError(
            f"class {known[twice]!r} of {name} stands for {' and '.join(map(repr, both[:2]))} of {images.name}; it can stand for one"
        )
    return groups


def _found(text: str, places: Mapping[str, set[int]], numbers: int) -> set[int]:
    """The places of a class by its name, by the WordNet id that the name begins with, or by its number, where ``numbers`` are given."""
    if plain(text) in places:
        return places[plain(text)]
    if text.isdecimal() and int(text) < numbers:
        return {int(text)}
    wordnet = WORDNET.match(text.strip())
    return places.get(wordnet[1], set()) if wordnet else set()


def _misfit(name: str, known: Sequence[str], images: Images, why: str) -> ValueError:
    return ValueError(
        f"the classes of {images.name} do not fit {name}: {images.name} has {len(images.classes)} ({_some(images.classes)}), the network has "
        f"{len(known)} ({_some(known)}), and {why}; map them with --classes FILE, a CSV of two columns: a class of the images, a class of "
        "the network"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + ", …" * (len(names) > 5)


def _changed(network: Network, module: nn.Module, images: Images, note: str) -> Network:
    return replace(network, module=module.eval(), classes=list(images.classes), card=network.card | {"fitted": note})
