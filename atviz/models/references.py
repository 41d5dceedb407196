"""One argument names a network: a recipe, a checkpoint's folder, a file, a network of a library, an exported program, or one's own code."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import torch

from ..names import unknown
from . import checkpoints, libraries, programs
from .architectures import ARCHITECTURES, build
from .network import Network
from .outside import Found, Options, network_of
from .weights import load_into

# scheme -> what it finds, given the place that a reference names, its options, and the name of the data set
SCHEMES: dict[str, Callable[[str, Options, str], Found]] = {
    "torchvision": libraries.torchvision, "timm": libraries.timm, "hub": libraries.hub, "robustbench": libraries.robustbench,
    "program": programs.program, "python": programs.python,
}  # fmt: skip
FORMS = (
    "a recipe (normal, pgd-inf-8), a checkpoint's folder, resnet18:FILE, torchvision:resnet50, timm:NAME, hub:OWNER/NAME, "
    "robustbench:NAME, program:FILE.pt2, python:FILE.py:function"
)
NAMED = re.compile(r"(?P<name>[^\s=:/\\?,]+)\s*=\s*(?P<rest>.+)", re.DOTALL)
DRIVE = re.compile(r"[A-Za-z]:[/\\]")  # of a path on Windows
BETWEEN = re.compile(r",(?!\s*[-+]?\.?\d[\d.eE+-]*\s*(?:[,&]|$))")  # not within mean=0.5,0.5,0.5


@dataclass(frozen=True)
class Reference:
    """A reference, taken apart: ``[NAME=][SCHEME:]PLACE[?OPTIONS]``.

    ``scheme`` is one of `SCHEMES`, an architecture, or "" for a recipe or a checkpoint's folder. ``named`` says that the caller gave the
    name.

    >>> asked = Reference.of("std=torchvision:resnet50/IMAGENET1K_V2?size=160")
    >>> asked.name, asked.scheme, asked.place, asked.options.size
    ('std', 'torchvision', 'resnet50/IMAGENET1K_V2', 160)
    """

    name: str
    scheme: str
    place: str
    options: Options = field(default_factory=Options)
    named: bool = False

    @classmethod
    def of(cls, text: str | Path) -> Self:
        """The parts of a reference; ValueError, in one sentence, for one that cannot be."""
        text = str(text).strip()
        given = NAMED.fullmatch(text)
        name, rest = (given["name"], given["rest"].strip()) if given else ("", text)
        before, equals, _ = rest.partition("=")
        if equals and re.search(r"\s", before.strip()) and not re.search(r"[:/\\?]", before):
            raise ValueError(f"network {text!r} has a space in its name {before.strip()!r}; a name is one word, such as mine=normal")
        place, mark, query = rest.partition("?")
        options = Options.of(_pairs(text, query)) if query else Options()
        scheme, colon, inner = place.partition(":")
        if not colon or DRIVE.match(place) or checkpoints.exists(_path(place)):
            scheme, inner = "", place
        elif scheme not in SCHEMES and not _is_architecture(scheme):
            raise unknown(
                "way to name a network", f"{scheme}:", [f"{known}:" for known in (*SCHEMES, *ARCHITECTURES)], hint=f"known are {FORMS}"
            )
        if not inner:
            raise ValueError(f"network {text!r} names nothing; it must be {FORMS}")
        if scheme == "" and mark and options != Options():
            raise ValueError(f"network {text!r} has options, but a recipe or a checkpoint's folder takes none")
        return cls(name or _short(scheme, inner), scheme, inner, options, bool(given))

    @property
    def title(self) -> str:
        """The reference as text; one without a name of its own is written without it."""
        said = [(key, value) for key, value in vars(self.options).items() if value is not None]
        query = "&".join(f"{key}={','.join(map(_number, value)) if isinstance(value, tuple) else value}" for key, value in said)
        return f"{f'{self.name}=' * self.named}{f'{self.scheme}:' * bool(self.scheme)}{self.place}{f'?{query}' * bool(query)}"

    @property
    def is_file(self) -> bool:
        """Whether the place is a path: of weights, of a program, of Python code, or of a checkpoint's folder."""
        if self.scheme == "python":
            return programs.is_path(self.place)
        return self.scheme == "program" or _is_architecture(self.scheme) or (self.scheme == "" and checkpoints.exists(_path(self.place)))

    @property
    def is_recipe(self) -> bool:
        """Whether it names a recipe, so that the network is one that atviz trains or ships."""
        return self.scheme == "" and not self.is_file

    @property
    def resolved(self) -> Reference:
        """The same reference with absolute paths: a notebook runs in another folder."""
        options, place = self.options, self.place
        if options.weights and options.weights != "none":
            options = replace(options, weights=str(_path(options.weights).resolve()))
        if self.scheme == "python":
            place = programs.located(place)
        elif self.is_file:
            place = str(_path(place).resolve())
        return replace(self, place=place, options=options)


def split(text: str) -> list[str]:
    """The references in a list with commas; commas between the numbers of an option belong to it.

    >>> split("a=timm:vit_tiny_patch16_224?mean=0.5,0.5,0.5&std=0.5,0.5,0.5, normal")
    ['a=timm:vit_tiny_patch16_224?mean=0.5,0.5,0.5&std=0.5,0.5,0.5', 'normal']
    """
    return [part.strip() for part in BETWEEN.split(text) if part.strip()]


def load(reference: str | Path | Reference, *, dataset: str | None = None, size: int | None = None) -> Network:
    """The network of a reference, in eval mode, on the CPU: from pixels in [0, 1] to logits.

    Args:
        reference: ``[NAME=]REFERENCE[?OPTIONS]``, where REFERENCE is

            - ``normal``, ``pgd-inf-8``: a recipe whose network ships for the ``dataset``
            - a checkpoint's folder
            - ``resnet18-w16:FILE``: one of the `ARCHITECTURES` with the weights of a safetensors file or a state dict of tensors
            - ``torchvision:resnet50``, ``torchvision:resnet50/IMAGENET1K_V2``: torchvision's, with its best or its named weights
            - ``timm:NAME``, ``hub:OWNER/NAME[@REVISION]``: timm's, or a network on the Hugging Face hub in timm's layout
            - ``robustbench:NAME``, ``robustbench:THREAT/NAME``: of RobustBench's model zoo (THREAT: Linf, L2, corruptions)
            - ``program:FILE.pt2``: a program saved by `torch.export`
            - ``python:module:function``, ``python:FILE.py:function``: the caller's own code. The function takes nothing and returns a
              module from pixels in [0, 1] to logits. It is the only reference that runs code

            and OPTIONS are those of `outside.Options`, such as ``mean=0.5,0.5,0.5&std=0.5,0.5,0.5&size=224``.
        dataset: the data set whose shipped networks are meant, such as ``fashion``; it also chooses among RobustBench's.
        size: the side of the images at hand in pixels, where it is not the one that the network was trained at.

    Raises:
        FileNotFoundError: no such folder or file.
        ValueError: a reference that cannot be read, a damaged file, a file that holds more than tensors, weights that do not fit, or a
            recipe that does not ship for the data set.
        ImportError: a library that is not installed; the message is the command that installs it.
        OSError: a download that failed.

    >>> load("normal", dataset="fashion").shape
    (1, 28, 28)
    """
    asked = reference if isinstance(reference, Reference) else Reference.of(reference)
    if asked.scheme in SCHEMES:
        found = SCHEMES[asked.scheme](asked.place, asked.options, dataset or "")
    elif asked.scheme:
        found = programs.own_architecture(asked.scheme, _path(asked.place), asked.options)
    else:
        return _checkpoint(asked, dataset)
    network = network_of(asked.name, found, asked.options, size=size)
    return replace(network, card=network.card | {"reference": asked.title})


def _checkpoint(asked: Reference, dataset: str | None) -> Network:
    folder = _path(asked.place)
    if dataset is not None and not checkpoints.exists(folder) and not re.search(r"[/\\]", asked.place):
        shipped = checkpoints.zoo(dataset)
        if asked.place not in shipped:
            raise unknown(f"network of {dataset}", asked.place, shipped, hint=f"the zoo holds no networks of {dataset}" * (not shipped))
        folder = shipped[asked.place]
    state, card = checkpoints.read(folder)
    made = card["model"]
    if "arch" not in made:
        raise ValueError(f"{folder} holds no classifier; its card says it is {card['recipe'].get('name') or 'something else'}")
    try:
        model = build(**made)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise ValueError(f"{folder / checkpoints.CARD} describes no network ({' '.join(str(error).split())[:200]})") from error
    load_into(model, state, f"{folder / checkpoints.WEIGHTS}", made["arch"])
    model = model.to(memory_format=torch.channels_last).eval()
    side = made.get("image_size", 32)
    name = asked.name if asked.named else card["recipe"].get("name", asked.name)
    return Network(name, model, card.get("classes", []), (made.get("in_channels", 3), side, side), card)


def _pairs(text: str, query: str) -> dict[str, str]:
    """The options of ``mean=0.5&size=224``: as they are written, so that a path needs no escapes."""
    pairs = [part.partition("=") for part in query.split("&")]
    if "?" in query or not all(equals for _, equals, _ in pairs):
        raise ValueError(f"network {text!r} has options that cannot be read; write them as ?mean=0.5,0.5,0.5&size=224")
    twice = next((key for key, *_ in pairs if sum(key == other for other, *_ in pairs) > 1), None)
    if twice is not None:
        raise ValueError(f"network {text!r} has the option {twice} twice; give it once")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _number(value: float) -> str:
    """A number as it is read again, without a needless .0."""
    return repr(value).removesuffix(".0")


def _path(place: str) -> Path:
    return Path(os.path.expanduser(place))  # Path's own raises where there is no such user


def _is_architecture(scheme: str) -> bool:
    return re.fullmatch(rf"({'|'.join(ARCHITECTURES)})(-w[1-9]\d*)?", scheme) is not None


def _short(scheme: str, place: str) -> str:
    """The name of a network that the caller gave none."""
    if scheme == "python":
        return place.rpartition(":")[2]
    if scheme == "torchvision":
        return place.partition("/")[0]
    name = place.rstrip("/\\").replace("\\", "/").rpartition("/")[2].partition("@")[0]
    return Path(name).stem if scheme == "program" or _is_architecture(scheme) else name


def check_names(references: Sequence[Reference]) -> None:
    """ValueError where two references have one name."""
    names = [reference.name for reference in references]
    for place, (name, reference) in enumerate(zip(names, references, strict=True)):
        if name in names[:place]:
            better = replace(reference, name="mine", named=True).title
            raise ValueError(f"two networks are named {name}; give one of them a name of its own, such as {better}")
