"""Everything that reads a file or a link, given damaged and odd ones: a result, or one sentence. Nothing else.

`ATVIZ_FUZZ=8000 pytest tests/test_fuzz.py` gives each of the readers 8,000 inputs; `make test` gives each 150.
"""

import contextlib
import copy
import json
import os
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from atviz import data, disk, models
from atviz.app import cli, compare, files, report, slider_page, subcommands, sweep_page
from atviz.data import folders
from atviz.evidence import Store
from atviz.models import checkpoints
from atviz.notebook.explore import State
from atviz.training import resume

COUNT = int(os.environ.get("ATVIZ_FUZZ", "150"))
ODD = [
    None, True, False, -1, 0, 1, 2, 3.5, -0.0, 1e308, 10**30, float("nan"), float("inf"), "", "x", "ä", "../..", "<script>", "1", [], {}, [[]],
    [None], {"a": 1}, [0] * 9, "normal", "small", "resnet18", "saturate",
]  # fmt: skip
SENTENCES = (ValueError, OSError, ImportError)


def said(call, *given):
    """The call's errors are sentences."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            return call(*given)
    except SENTENCES as error:
        assert "\n" not in str(error) and 0 < len(str(error)) < 2000, repr(error)
        return None


# --- how inputs are spoiled


def spoiled_bytes(raw, rng):
    raw = bytearray(raw)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        place = rng.randrange(len(raw) + 1)
        how = rng.randrange(6)
        if how == 0 and raw:
            raw[place % len(raw)] ^= 1 << rng.randrange(8)
        elif how == 1:
            del raw[place:]
        elif how == 2:
            raw[place:place] = rng.randbytes(rng.choice([1, 4, 100]))
        elif how == 3:
            del raw[place : place + rng.choice([1, 4, 100])]
        elif how == 4 and raw:
            raw[place % len(raw)] = rng.choice(b"\0\n\r\t \"'{}[],:0129\xff\xc3")
        else:
            raw[place:place] = raw[rng.randrange(len(raw) + 1) :][:50]
    return bytes(raw)


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def spoiled_json(value, rng):
    if rng.random() < 0.15:
        return spoiled_bytes(json.dumps(value).encode(), rng)
    value = [copy.deepcopy(value)]
    for _ in range(rng.choice([1, 1, 2, 5])):
        *path, last = rng.choice([place for place in places(value) if place])
        parent = value
        for key in path:
            parent = parent[key]
        how = rng.randrange(4)
        if how == 0:
            del parent[last]
            if not value:
                return b"null"
        elif how == 1 and isinstance(parent, dict):
            parent[rng.choice(["x", "name", "arch", "mean", "rows", "of", "status"])] = parent.pop(last)
        elif how == 2 and isinstance(parent, list):
            parent *= 2
        else:
            parent[last] = copy.deepcopy(rng.choice(ODD))
    return json.dumps(value[0]).encode()


# --- what is read, each with one good example


def of_bytes(path, call, raw=None):
    raw = path.read_bytes() if raw is None else raw

    def one(rng):
        path.write_bytes(spoiled_bytes(raw, rng))
        said(call, path)

    return one


def of_json(path, call):
    value = json.loads(path.read_text())

    def one(rng):
        path.write_bytes(spoiled_json(value, rng))
        said(call, path)

    return one


def of_text(call, *examples):
    return lambda rng: said(call, spoiled_bytes(rng.choice(examples).encode(), rng).decode(errors="replace"))


def small_checkpoint(place):
    model = models.build("small-w4", num_classes=3, image_size=8, mean=[0.1, 0.2, 0.3], std=[1.0, 1.0, 2.0])
    card = json.loads((next(iter(checkpoints.zoo("fashion").values())) / "card.json").read_text())
    card |= {
        "model": {"arch": "small-w4", "num_classes": 3, "in_channels": 3, "image_size": 8, "mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 2.0]}
    }
    card |= {"classes": ["a", "b", "c"], "history": card["history"][:1]}
    checkpoints.save(place / "normal", model.state_dict(), card)
    return place / "normal"


def a_card(place):
    folder = small_checkpoint(place)
    return of_json(folder / "card.json", lambda path: models.load(str(path.parent)))


def weights_of_a_checkpoint(place):
    folder = small_checkpoint(place)
    card = json.loads((folder / "card.json").read_text())
    raw = (folder / "weights.safetensors").read_bytes()
    head = raw[: 8 + int.from_bytes(raw[:8], "little")]

    def one(rng):  # the card fits, so that the file itself must be refused
        spoiled = spoiled_bytes(head, rng) + raw[len(head) :]
        (folder / "weights.safetensors").write_bytes(spoiled)
        disk.write_json(folder / "card.json", card | {"sha256": models.weights.file_digest(folder / "weights.safetensors")})
        said(models.load, str(folder))

    return one


def a_state_dict(place):
    torch.save({"state_dict": {"module.a": torch.zeros(2)}}, place / "w.pth")
    return of_bytes(place / "w.pth", models.read_state)


def a_program(place):
    class Net(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] * 2

    torch.export.save(torch.export.export(Net(), (torch.rand(2, 1, 2, 2),)), place / "p.pt2")
    return of_bytes(place / "p.pt2", models.archives.checked)


def a_record(place):
    store = Store(place)
    store.keep({"a": 1}, [[1, 2], [3, 4]])
    (path,) = place.iterdir()
    value = json.loads(path.read_text())

    def one(rng):
        path.write_bytes(spoiled_json(value, rng))
        with contextlib.suppress(KeyError):
            assert store.find({"a": 1}) == [[1, 2], [3, 4]]

    return one


def a_run(place, spoil="run.json"):
    number = {"difference": 0.1, "ci_low": 0.0, "ci_high": 0.2, "baseline": 0.3, "subject": 0.4}
    finding = number | {
        "measure": "saturate", "level": 4.0, "label": "saturated", "expected": "higher", "source": "Table 1", "paper": "Zhang & Zhu", "margin": 0.01,
        "of": "mean", "named": ["seeds"], "underfit": None, "n": 5, "names": ["a", "b"], "percent": True, "comparable": True, "unit": "images",
        "images": "", "rivals": [{"name": "seeds", "kind": "seeds", "value": 0.1, "ci_low": 0.0, "ci_high": 0.2, "agree": 1, "of": 2, "note": ""}],
    }  # fmt: skip
    record = {
        "version": "1", "order": ["04_saturate"], "notes": ["a note"], "settings": {"dataset": "fashion", "models": ["a"], "profile": "quick", "seed": 0},
        "stages": {"train": {"status": "done"}, "04_saturate": {"status": "done", "seconds": 1.0}},
    }  # fmt: skip
    disk.write_json(place / "run.json", record)
    disk.write_json(place / "findings" / "04_saturate.json", [finding])
    assert report.write_report(place)
    return of_json(place / spoil, lambda _: report.write_report(place))


def sliders_of_a_page(place):
    count = {"right": 1, "clean": 1, "both": 1}
    view = {"top": [0], "p": [[0.9, 0.1]], "classes": [0, 1]}
    value = {
        "size": [4, 4], "original": [4, 4], "quality": None, "columns": 1, "attacked_from": 1, "steps": 20, "n": 1, "method": "Grad",
        "dataset": "fashion", "models": [{"name": "a", "color": "#0b5cad"}], "classes": {"0": "bag", "1": "boot"},
        "images": [{"number": 0, "label": 0}], "shares": [[count]], "views": [[view]],
        "sliders": [{"name": "saturate", "title": "saturation", "axis": "level", "start": 0,
                     "stops": [{"label": "2", "words": "as it is", "column": 0}]}],
    }  # fmt: skip
    for name in ("shown", "map-0"):
        path = place / "sliders" / f"{name}.webp"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    disk.write_json(place / "sliders" / "sliders.json", value)
    assert slider_page.slider_values(place)
    return of_json(place / "sliders" / "sliders.json", lambda _: slider_page.slider_values(place))


def a_comparison(place):
    for name in ("one", "other"):
        a_run(place / name)
    spoil = of_json(place / "one" / "run.json", lambda _: compare.read(place / "one"))
    whole = compare.read(place / "other")

    def one(rng):
        spoil(rng)
        if (side := said(compare.read, place / "one")) is not None:
            said(compare.compared, side, whole)

    return one


def a_sweep(place, spoil="sweep.json"):
    row = {"measure": "saturate", "level": 4.0, "n": 5, "top1": 0.5, "n_correct": 3, "acc_on_correct": 0.5, "ci_low": 0.1, "ci_high": 0.9}
    cell = {"version": "1", "dataset": "fashion", "model": "normal", "seed": 0, "classes": 10, "collapsed_at": None, "rows": [row]}
    sweep = {
        "version": "1", "command": "atviz sweep", "cells": ["c"], "failed": {}, "distortions": [], "settings": {"profile": "quick", "arch": "small"},
        "datasets": ["fashion"], "models": ["normal"], "seeds": [0],
    }  # fmt: skip
    disk.write_json(place / "sweep.json", sweep)
    disk.write_json(place / "cells" / "c.json", cell)
    assert sweep_page.write_page(place)
    return of_json(place / spoil, lambda _: sweep_page.write_page(place))


def a_kept_epoch(place):
    net = nn.Linear(2, 2)
    resume.keep(place / "t", {"model": net.state_dict()}, {"epoch": 1, "history": [], "collapsed_at": None, "stopped_at": None}, {})
    return of_bytes(place / "t", lambda path: resume.restore(path, {"model": net}, {}, torch.device("cpu")))


def an_image(kind):
    def made(place):
        pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        path = place / f"i.{kind}"
        Image.fromarray(pixels).save(path)
        return of_bytes(path, lambda path: folders.attempt(path, 8))

    return made


def a_cache(place):
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(place / "i.png")
    folders.read_files([place / "i.png"], size=None, cache=place / "cache", name="c")
    (path,) = (place / "cache").iterdir()

    def read(path):
        assert folders.read_files([place / "i.png"], size=None, cache=path.parent, name="c").pixels.sum() == 0

    return of_bytes(path, read)


def an_annotation(name):
    def made(place):
        root = place / "tiny-imagenet-200"
        for part in ("train/n01/images", "train/n02/images", "val/images"):
            (root / part).mkdir(parents=True)
        for path in ("train/n01/images/a.JPEG", "train/n02/images/b.JPEG", "val/images/v.JPEG"):
            (root / path).write_bytes(b"x")
        (root / "wnids.txt").write_text("n01\nn02\n")
        (root / "words.txt").write_text("n01\tcat\nn02\tdog\n")
        (root / "val" / "val_annotations.txt").write_text("v.JPEG\tn01\t0\t0\t1\t1\n")
        return of_bytes(root / name, lambda _: [data.listings.tiny_imagenet(root, split) for split in ("train", "test")])

    return made


def a_mapping(place):
    (place / "m.csv").write_text('cat,"tabby, tabby cat"\ncat,tiger cat\ndog,pug\n')
    return of_bytes(place / "m.csv", models.read_mapping)


READERS = {
    "card": a_card,
    "weights of a checkpoint": weights_of_a_checkpoint,
    "state dict": a_state_dict,
    "program": a_program,
    "record": a_record,
    "run": a_run,
    "findings": lambda place: a_run(place, "findings/04_saturate.json"),
    "sliders": sliders_of_a_page,
    "comparison": a_comparison,
    "sweep": a_sweep,
    "cell": lambda place: a_sweep(place, "cells/c.json"),
    "kept epoch": a_kept_epoch,
    "PNG": an_image("png"),
    "JPEG": an_image("jpg"),
    "GIF": an_image("gif"),
    "TIFF": an_image("tif"),
    "WebP": an_image("webp"),
    "cache": a_cache,
    "wnids.txt": an_annotation("wnids.txt"),
    "words.txt": an_annotation("words.txt"),
    "val_annotations.txt": an_annotation("val/val_annotations.txt"),
    "mapping": a_mapping,
    "state of a link": lambda _: of_text(
        State.of, "image=3&saturate=64&patch_shuffle=2&models=a,b&eps=0.1&steps=3&method=Grad&style=drawn"
    ),
    "reference": lambda _: of_text(
        models.Reference.of, "mine=resnet18-w16:a/b.safetensors?mean=0.5,0.5,0.5&size=32", "hub:a/b@c", "normal"
    ),
    "--set": lambda _: of_text(subcommands.assignment, "levels=[1.0, 2.0]", "k=2", "names=['a', (1,)]"),
    "--seeds": lambda _: of_text(subcommands.numbers, "0,1,2"),
    "name of a data set": lambda _: of_text(data.check_name, "folder:a/b", "fashion", "tiny-imagenet:x"),
}


@pytest.mark.parametrize("what", READERS)
def test_whatever_is_read_gives_a_result_or_a_sentence(what, tmp_path):
    rng = random.Random(f"{what} {os.environ.get('ATVIZ_FUZZ_SEED', 0)}")
    one = READERS[what](tmp_path)
    for number in range(COUNT):
        before = rng.getstate()
        try:
            one(rng)
        except Exception:
            print(f"{what}, input {number} of seed {before[1][:2]}")
            raise


def test_the_command_line_and_the_package_have_no_loader_of_pickles():
    """`weights_only=False`, `pickle` and `numpy.load` with pickles run code of a file; the one sentence that names the first is help."""
    import ast

    for path in sorted(Path(cli.__file__).parents[1].rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
                assert not {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"} & {name.partition(".")[0] for name in names}, (
                    path
                )
            if isinstance(node, ast.Call):
                given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
                assert given.get("weights_only") is not False and not given.get("allow_pickle"), path
                if ast.unparse(node.func) == "torch.load":
                    assert given.get("weights_only") is True, path
    assert files.read(Path("/nowhere")) == {}
