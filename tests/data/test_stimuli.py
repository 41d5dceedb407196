"""Published cue-conflict images: their layout, their download, and the 16 categories."""

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from atviz.data import CATEGORIES, fetch_stimuli, load_stimuli, stimuli

NAMES = list(CATEGORIES)


def picture(shape, texture, size=8):
    """An image whose first pixel's red says the shape's category and whose green says the texture's."""
    pixels = np.full((size, size, 3), 255, np.uint8)
    pixels[..., 0], pixels[..., 1] = NAMES.index(shape), NAMES.index(texture)
    return Image.fromarray(pixels)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "stimuli"
    for i, shape in enumerate(NAMES):
        (root / shape).mkdir(parents=True)
        for j in range(3):  # the first is a pair of the same category
            texture = NAMES[(i + j) % 16]
            picture(shape, texture).save(root / shape / f"{shape}{j + 1}-{texture}{3 - j}.png")
    return root


def test_categories_are_disjoint_sets_of_imagenets_classes():
    members = [i for indices in CATEGORIES.values() for i in indices]
    assert sorted(NAMES) == NAMES
    assert len(NAMES) == 16
    assert len(set(members)) == len(members) == 207
    assert min(members) >= 0
    assert max(members) < 1000


@pytest.mark.parametrize(
    ("category", "names"),
    [
        ("airplane", {"airliner"}),
        ("bear", {"brown bear", "American black bear", "ice bear", "sloth bear"}),
        ("bicycle", {"bicycle-built-for-two", "mountain bike"}),
        ("boat", {"canoe", "fireboat", "lifeboat", "speedboat", "yawl"}),
        ("bottle", {"beer bottle", "pill bottle", "pop bottle", "water bottle", "water jug", "whiskey jug", "wine bottle"}),
        ("car", {"beach wagon", "convertible", "sports car"}),
        ("cat", {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat", "cougar"}),
        ("chair", {"barber chair", "folding chair", "rocking chair", "throne"}),
        ("clock", {"analog clock", "digital clock", "wall clock"}),
        ("elephant", {"Indian elephant", "African elephant"}),
        ("keyboard", {"computer keyboard", "typewriter keyboard"}),
        ("knife", {"cleaver"}),
        ("oven", {"rotisserie"}),
        ("truck", {"fire engine", "garbage truck", "minivan", "moving van", "pickup", "police van", "tow truck", "trailer truck"}),
    ],
)
def test_categories_by_torchvisions_names_of_the_classes(category, names):
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    found = {_IMAGENET_CATEGORIES[i] for i in CATEGORIES[category]}
    assert len(found & names) >= len(found) - 2  # torchvision shortens a few names
    assert len(found) == len(names)


def test_the_folder_says_shape_and_texture(folder):
    images, shape, texture = load_stimuli(folder, size=8)
    assert images.x.shape == (48, 3, 8, 8)
    assert images.classes == NAMES
    assert torch.equal(images.y, shape)
    assert torch.equal(shape, images.x[:, 0, 0, 0].long())
    assert torch.equal(texture, images.x[:, 1, 0, 0].long())
    assert (shape == texture).sum() == 16


@pytest.mark.parametrize("name", ["cat1.png", "cat1-lion2.png", "dog1-cat1.png", "cat-dog.png"])
def test_a_name_that_says_something_else_is_refused(folder, name):
    picture("cat", "dog").save(folder / "cat" / name)
    with pytest.raises(ValueError, match=name):
        load_stimuli(folder, size=8)


def test_a_folder_that_lacks_a_category_is_refused(folder):
    (folder / "oven").rename(folder / "stove")
    with pytest.raises(FileNotFoundError, match="oven"):
        load_stimuli(folder)


def packed(per_category):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in NAMES:
            for i in range(per_category):
                archive.writestr(f"texture-vs-shape-0/{stimuli.FOLDER}/{name}/{name}{i}-bear1.png", b"pixels")
        archive.writestr("texture-vs-shape-0/stimuli/edges/cat/cat1.png", b"another experiment's")
        archive.writestr(f"texture-vs-shape-0/{stimuli.FOLDER}/../../../cat/cat1-bear1.png", b"elsewhere")
    return file.getvalue()


def test_the_download_is_unpacked_once_and_held_to_its_count(loopback, tmp_path):
    loopback.files["archive.zip"] = packed(stimuli.PER_CATEGORY)
    for _ in range(2):
        found = fetch_stimuli(tmp_path / "there", url=loopback.url + "archive.zip")
        assert sorted(p.name for p in found.iterdir()) == NAMES
        assert len(list(found.glob("*/*.png"))) == 16 * stimuli.PER_CATEGORY
    assert loopback.asked == ["/archive.zip"]
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize(("content", "sentence"), [(packed(79), "79 of airplane"), (b"no archive", "zip"), (None, "404")])
def test_a_download_that_is_not_complete_leaves_nothing(loopback, tmp_path, content, sentence):
    if content is not None:
        loopback.files["archive.zip"] = content
    with pytest.raises(OSError, match=sentence):
        fetch_stimuli(tmp_path / "there", url=loopback.url + "archive.zip")
    assert not list(tmp_path.iterdir())
