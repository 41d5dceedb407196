"""Published cue-conflict images: their layout, the 16 categories, and a network's decision among them."""

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from atviz import evaluate, stimuli

NAMES = list(stimuli.CATEGORIES)


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


class ImageNet(nn.Module):
    """1,000 logits: high for one class of the category that the given color channel of an image states."""

    def __init__(self, channel, classes=1000):
        super().__init__()
        self.channel, self.classes = channel, classes

    def forward(self, x):
        category = (x[:, self.channel, 0, 0] * 255).round().long()
        member = torch.tensor([stimuli.CATEGORIES[NAMES[c]][-1] for c in category])
        return 20 * nn.functional.one_hot(member, self.classes).float()


def test_categories_are_disjoint_sets_of_imagenets_classes():
    members = [i for indices in stimuli.CATEGORIES.values() for i in indices]
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

    found = {_IMAGENET_CATEGORIES[i] for i in stimuli.CATEGORIES[category]}
    assert len(found & names) >= len(found) - 2  # torchvision shortens a few names
    assert len(found) == len(names)


def test_the_folder_says_shape_and_texture(folder):
    images, shape, texture = stimuli.load(folder, size=8)
    assert images.x.shape == (48, 3, 8, 8)
    assert images.classes == NAMES
    assert torch.equal(images.y, shape)
    assert torch.equal(shape, images.x[:, 0, 0, 0].long())
    assert torch.equal(texture, images.x[:, 1, 0, 0].long())
    assert (shape == texture).sum() == 16


def test_a_network_that_follows_one_cue_is_found_out(folder):
    images, shape, texture = stimuli.load(folder, size=8)
    for channel, bias in ((0, 1.0), (1, 0.0)):
        found = evaluate.cue_conflict(stimuli.Categories(ImageNet(channel)), images, shape=shape, texture=texture)
        assert found["n"] == 32  # pairs of the same category say nothing
        assert found["shape_bias"] == bias
        assert found["neither"] == pytest.approx(0)


def test_a_category_weighs_by_the_mean_probability_of_its_classes():
    # two elephants at 0.2 each outweigh a hundred dogs that share 0.5, and lose to one knife at 0.21; a sum would say dog
    probability = torch.full((1000,), 1e-9)
    probability[stimuli.CATEGORIES["elephant"]] = 0.2
    probability[stimuli.CATEGORIES["dog"]] = 0.5 / len(stimuli.CATEGORIES["dog"])

    class Fixed(nn.Module):
        def forward(self, x):
            return probability.log().expand(len(x), -1)

    decide = stimuli.Categories(Fixed())
    x = torch.zeros(1, 3, 2, 2)
    expected = np.array([(probability / probability.sum()).numpy()[m].mean() for m in stimuli.CATEGORIES.values()])
    assert decide(x)[0].numpy() == pytest.approx(expected)
    assert NAMES[decide(x).argmax()] == "elephant"
    probability[stimuli.CATEGORIES["knife"]] = 0.21
    assert NAMES[decide(x).argmax()] == "knife"


def test_a_network_of_other_classes_is_refused():
    with pytest.raises(ValueError, match="10 classes"):
        stimuli.Categories(nn.Sequential(nn.Flatten(), nn.Linear(12, 10)))(torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize("name", ["cat1.png", "cat1-lion2.png", "dog1-cat1.png", "cat-dog.png"])
def test_a_name_that_says_something_else_is_refused(folder, name):
    picture("cat", "dog").save(folder / "cat" / name)
    with pytest.raises(ValueError, match=name):
        stimuli.load(folder, size=8)


def test_a_folder_that_lacks_a_category_is_refused(folder):
    (folder / "oven").rename(folder / "stove")
    with pytest.raises(FileNotFoundError, match="oven"):
        stimuli.load(folder)


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
        found = stimuli.fetch(tmp_path / "there", url=loopback.url + "archive.zip")
        assert sorted(p.name for p in found.iterdir()) == NAMES
        assert len(list(found.glob("*/*.png"))) == 16 * stimuli.PER_CATEGORY
    assert loopback.asked == ["/archive.zip"]
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize(("content", "sentence"), [(packed(79), "79 of airplane"), (b"no archive", "zip"), (None, "404")])
def test_a_download_that_is_not_complete_leaves_nothing(loopback, tmp_path, content, sentence):
    if content is not None:
        loopback.files["archive.zip"] = content
    with pytest.raises(OSError, match=sentence):
        stimuli.fetch(tmp_path / "there", url=loopback.url + "archive.zip")
    assert not list(tmp_path.iterdir())
