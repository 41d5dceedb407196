"""Data sets and loaders of torch, against the same images made by hand, by `load`, and by torchvision."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)
from torchvision import datasets, transforms, tv_tensors

from atviz import data
from atviz.data import Images, adapt, as_images

X = torch.randint(0, 256, (23, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(23) % 3
IMAGES = Images(X, Y, ["ant", "bee", "cow"])


class Pairs(Dataset):
    """Images and labels, as the functions given make them of uint8 tensors and ints."""

    def __init__(self, image=lambda x: x, label=lambda y: y, x=X, y=Y, classes=None):
        self.image, self.label, self.x, self.y, self.reads = image, label, x, y, []
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        self.reads.append(i)
        return self.image(self.x[i]), self.label(int(self.y[i]))


def pil(x):
    return Image.fromarray(x.permute(1, 2, 0).numpy().squeeze())


def same(found, expected=IMAGES):
    return torch.equal(found.x, expected.x) and torch.equal(found.y, expected.y) and found.x.is_contiguous()


# --- pixels and labels

PICTURES = {
    "uint8": lambda x: x,
    "float32": lambda x: x / 255,
    "float64": lambda x: x.double() / 255,
    "float16": lambda x: (x / 255).half(),
    "PIL": pil,
    "ToTensor": lambda x: transforms.ToTensor()(pil(x)),
    "tv_tensors": lambda x: tv_tensors.Image(x),
    "channels last": lambda x: x.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "with gradient": lambda x: (x / 255).requires_grad_(),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pixels_are_taken_as_they_are(kind):
    found = as_images(Pairs(PICTURES[kind]))
    assert same(found) and type(found.x) is torch.Tensor and not found.x.requires_grad
    assert found.digest == IMAGES.digest and found.note == ""


@pytest.mark.parametrize("label", [int, np.int64, torch.tensor, lambda y: torch.tensor([y]), lambda y: np.array(y, dtype=np.uint8)])
def test_labels_are_integers_of_any_kind(label):
    found = as_images(Pairs(label=label))
    assert same(found) and found.y.dtype == torch.int64


@pytest.mark.parametrize("image", [pil, lambda x: x, lambda x: x[0], lambda x: x / 255])
def test_gray_images_have_one_channel(image):
    assert torch.equal(as_images(Pairs(image, x=X[:, :1])).x, X[:, :1])


@pytest.mark.parametrize(("mode", "expected"), [("RGBA", [255, 255, 255]), ("P", [10, 20, 30]), ("CMYK", [10, 20, 30]), ("1", [0, 0, 0])])
def test_other_modes_of_pil_become_rgb_as_in_a_folder(mode, expected):
    plain = Image.new("RGB", (4, 4), (10, 20, 30))
    color = plain.quantize(2) if mode == "P" else plain.convert(mode)
    assert color.mode == mode
    if mode == "RGBA":
        color.putalpha(0)
    assert as_images(Pairs(lambda x: color)).x[7, :, 2, 2].tolist() == expected


@pytest.mark.parametrize("first", [True, False])
def test_gray_images_among_colored_ones_become_gray_in_three_channels(first, monkeypatch):
    monkeypatch.setattr(adapt, "BLOCK", 4)
    gray = lambda i: (i % 7 < 3) == first
    mixed = [X[i, :1] if gray(i) else X[i] for i in range(23)]
    found = as_images(Pairs(lambda i: mixed[int(i)], x=torch.arange(23)))
    assert torch.equal(found.x, torch.stack([image.expand(3, -1, -1) for image in mixed]))


def test_many_images_are_put_together_in_order(monkeypatch):
    for block in (1, 5, 22, 23, 24):
        monkeypatch.setattr(adapt, "BLOCK", block)
        assert same(as_images(Pairs()))


def test_pixels_between_two_levels_are_rounded_and_it_is_said():
    found = as_images(Pairs(lambda x: (x / 255).mul(0.5)))
    assert (found.x.double() - X.double() / 2).abs().max() == 0.5
    assert found.note == "the pixels of pairs are rounded to 1/255, by at most 0.002"


# --- names


def test_the_name_is_that_of_the_class():
    assert (
        as_images(Pairs()).name == as_images(DataLoader(Pairs())).name == as_images(Subset(Subset(Pairs(), range(9)), [1])).name == "pairs"
    )
    assert as_images(DataLoader(replace(IMAGES, name="mine"))).name == "mine"


def test_classes_are_those_of_the_data_set_of_its_whole_or_numbers():
    names = ["ant", "bee", "cow", "dog"]
    named = Pairs(classes=names)
    for source in (
        named,
        Subset(named, [3, 1]),
        random_split(named, [20, 3])[1],
        DataLoader(Subset(named, [2])),
        ConcatDataset([named, named]),
    ):
        assert as_images(source).classes == names
    assert as_images(Pairs()).classes == ["0", "1", "2"] == as_images(ConcatDataset([named, Pairs()])).classes
    assert as_images(Pairs(), classes=("x", "y", "z")).classes == ["x", "y", "z"]
    assert as_images(named, classes=["x", "y", "z"]).classes == ["x", "y", "z"]
    assert as_images(Pairs(classes=[("ant", "Formicidae"), ("bee",), ("cow", "cattle")])).classes == ["ant", "bee", "cow"]
    with pytest.raises(ValueError, match="labels run from 0 to 2, but there are 2 classes"):
        as_images(Pairs(), classes=["x", "y"])


def test_images_are_returned_as_they_are():
    assert as_images(IMAGES) is IMAGES
    renamed = as_images(IMAGES, classes=["x", "y", "z"])
    assert renamed.classes == ["x", "y", "z"] and renamed.x is IMAGES.x


# --- loaders


def test_a_loader_is_read_in_the_order_of_its_data_set():
    for options in (
        dict(),
        dict(shuffle=True),
        dict(drop_last=True),
        dict(batch_size=None),
        dict(shuffle=True, drop_last=True, num_workers=2),
    ):
        pairs = Pairs()
        assert same(as_images(DataLoader(pairs, **{"batch_size": 4, **options})))
        assert options.get("num_workers") or pairs.reads == list(range(23))  # each once


def test_a_sampler_of_a_part_gives_the_part_in_order():
    found = as_images(DataLoader(Pairs(), batch_size=4, sampler=SubsetRandomSampler([9, 2, 15])))
    assert same(found, IMAGES[torch.tensor([2, 9, 15])])


def test_a_sampler_of_ones_own_is_followed():
    own = BatchSampler([5, 3, 3, 8, 1], 2, drop_last=False)
    assert same(as_images(DataLoader(Pairs(), batch_sampler=own)), IMAGES[torch.tensor([5, 3, 3, 8, 1])])
    assert same(as_images(DataLoader(Pairs(), sampler=[4, 4, 0])), IMAGES[torch.tensor([4, 4, 0])])
    for sampler in (WeightedRandomSampler([1.0] * 23, 40), RandomSampler(Pairs(), replacement=True, num_samples=40)):
        assert len(as_images(DataLoader(Pairs(), sampler=sampler))) == 40
    assert len(as_images(DataLoader(Pairs(), sampler=RandomSampler(Pairs(), num_samples=5)))) == 5
    pairs = Pairs()
    as_images(DataLoader(pairs, sampler=RandomSampler(pairs, replacement=True)))
    assert len(pairs.reads) == 23 > len(set(pairs.reads))  # some images several times, as the sampler draws them


class Stream(IterableDataset):
    def __iter__(self):
        return iter(Pairs())


def test_a_stream_is_read_once(monkeypatch):
    for source in (Stream(), DataLoader(Stream(), batch_size=5), DataLoader(Stream(), batch_size=None)):
        assert same(as_images(source))


def test_a_loader_of_pil_images_needs_no_transform():
    assert same(as_images(DataLoader(Pairs(pil), batch_size=5, shuffle=True)))  # torch's own collate refuses them


@pytest.mark.parametrize(
    "collate",
    [
        lambda batch: (torch.stack([x for x, _ in batch]).flip(-1), torch.tensor([y for _, y in batch])),
        lambda batch: ([x.flip(-1) for x, _ in batch], [y for _, y in batch]),
    ],
)
def test_the_loaders_own_collate_is_used(collate):
    found = as_images(DataLoader(Pairs(), batch_size=5, shuffle=True, collate_fn=collate))
    assert same(found, replace(IMAGES, x=X.flip(-1).contiguous()))


def test_the_global_random_numbers_are_left_alone():
    before = torch.get_rng_state()
    for loader in (DataLoader(Pairs(), shuffle=True), DataLoader(Pairs(), sampler=WeightedRandomSampler([1.0] * 23, 4))):
        as_images(loader)
    as_images(Pairs(lambda x: (x + torch.randint(3, (1,))).byte()))
    assert torch.equal(torch.get_rng_state(), before)


# --- torchvision


def test_a_folder_is_the_same_by_torchvision_and_by_name(tmp_path):
    for i in range(12):
        path = tmp_path / "pets" / "test" / ("cat" if i % 3 else "dog") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pil(X[i]).save(path)
    expected = data.load(f"folder:{tmp_path / 'pets'}", "test")
    for transform in (None, transforms.ToTensor()):
        source = datasets.ImageFolder(tmp_path / "pets" / "test", transform)
        for images in (as_images(source), as_images(DataLoader(source, batch_size=5, shuffle=True))):
            assert images.digest == expected.digest and images.classes == expected.classes and images.name == "imagefolder"


# --- what is refused


@pytest.mark.parametrize("thing", ["fashion", 3, None, [(X[0], 0)], X, X.numpy(), {"x": X}])
def test_what_is_no_data_set_is_refused(thing):
    with pytest.raises(TypeError, match=f"images is of type {type(thing).__name__}; it must be Images of atviz.data.load, a torch Dataset"):
        as_images(thing)


class Named(Pairs):
    def __getitem__(self, i):
        return {"image": self.x[i], "label": int(self.y[i])}


class Threes(Pairs):
    def __getitem__(self, i):
        return self.x[i], int(self.y[i]), i


REFUSED = {
    "item 0 of named is a dict; it must be a pair": (TypeError, Named()),
    "item 0 of threes is a tuple of 3; it must be a pair": (TypeError, Threes()),
    "item 0 of tensordataset is a tuple of 1; it must be a pair": (TypeError, TensorDataset(X)),
    "image 0 of pairs is of type ndarray; it must be a PIL image or a tensor": (TypeError, Pairs(lambda x: x.numpy())),
    "image 0 of pairs is torch.int32; it must be uint8, or floating-point": (ValueError, Pairs(lambda x: x.int())),
    r"image 0 of pairs has the shape \(6, 5, 3\); it must be \(C, H, W\)": (ValueError, Pairs(lambda x: x.permute(1, 2, 0))),
    r"image 0 of pairs has the shape \(90,\); it must be": (ValueError, Pairs(lambda x: x.flatten())),
    "item 0 of pairs has a label of shape .3,.; it must be one integer": (TypeError, Pairs(label=lambda y: torch.eye(3)[y])),
    "item 0 of pairs has a label of str; it must be one": (TypeError, Pairs(label=str)),
    "item 0 of pairs has a label of float; it must be one": (TypeError, Pairs(label=lambda y: torch.tensor(float(y)))),
    "item 1 of pairs has the label -1; it must be 0 or higher": (ValueError, Pairs(label=lambda y: -y)),
    "pairs holds no images": (ValueError, Pairs(x=X[:0], y=Y[:0])),
    "image 0 of pairs has pixels from -.*leave normalization out of its transform": (ValueError, Pairs(lambda x: x / 127.5 - 1)),
    "image 0 of pairs has pixels from .*; they must be in": (ValueError, Pairs(lambda x: x.float())),
    "image 0 of pairs has pixels from nan": (ValueError, Pairs(lambda x: x / 255 * torch.nan)),
}  # fmt: skip


@pytest.mark.parametrize("sentence", REFUSED)
def test_items_that_cannot_be_are_refused_by_number(sentence):
    error, source = REFUSED[sentence]
    with pytest.raises(error, match=sentence) as caught:
        as_images(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("through", [lambda source: source, lambda source: DataLoader(source, batch_size=4)])
def test_images_of_several_sizes_are_refused_with_what_to_do(through):
    sizes = lambda i: pil(X[int(i)]) if i < 7 else Image.new("RGB", (9, 8))
    with pytest.raises(ValueError, match=r"image 7 of pairs is 9x8 pixels and the image before it 5x6; .*Resize\(5\), CenterCrop\(5\)"):
        as_images(through(Pairs(sizes, x=torch.arange(23))))
    brought = transforms.Compose([transforms.Resize(5), transforms.CenterCrop(5)])  # what the sentence says
    assert as_images(Pairs(lambda i: brought(sizes(i)), x=torch.arange(23))).shape == (3, 5, 5)


def test_images_of_several_channels_are_refused():
    with pytest.raises(ValueError, match="image 3 of pairs has 2 channels and the image before it 3; all must have as many"):
        as_images(Pairs(lambda i: X[int(i)] if i < 3 else X[int(i), :2], x=torch.arange(23)))
