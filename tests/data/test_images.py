"""Images in memory: what is refused, what a digest is of, what batches yield, and how images are drawn from a set."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from atviz import data
from atviz.data import Images


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(n, c=3, h=16, w=16, classes=4, seed=0):
    x = torch.randint(0, 256, (n, c, h, w), dtype=torch.uint8, generator=seeded(seed))
    return Images(x, torch.arange(n) % classes, [f"class {i}" for i in range(classes)])


@example(counts=[2, 27, 4, 16], share=41 / 49, seed=3275)
@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any), share=st.floats(0.001, 1), seed=st.integers(0, 999))
def test_stratified_takes_each_class_in_proportion(counts, share, seed):
    y = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])[torch.randperm(sum(counts), generator=seeded(seed))]
    n = max(1, round(share * len(y)))
    index = data.stratified(y, n, seed)
    assert len(index) == n and (index.diff() > 0).all() and index.min() >= 0 and index.max() < len(y)
    taken = torch.bincount(y[index], minlength=len(counts)).numpy()
    assert np.abs(taken - n * np.array(counts) / len(y)).max() <= 1 + 1e-9  # "to within one"


def test_stratified_draws_every_image_alike():
    y = torch.tensor([0] * 6 + [1] * 6)
    counts = sum(torch.bincount(data.stratified(y, 4, seed), minlength=12) for seed in range(900))
    assert counts.sum() == 3600 and (counts - 300).abs().max() < 70  # five standard deviations


@pytest.mark.parametrize("n", [0, 13, -1])
def test_sample_that_is_not_there_is_refused(n):
    with pytest.raises(ValueError, match=f"cannot take {n} images of 12"):
        random_images(12).sample(n)


X, Y = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("x", "y", "classes"),
    [
        (X.float(), Y, ["a", "b"]),
        (X[0], Y, ["a", "b"]),
        (X, Y.int(), ["a", "b"]),
        (X, Y[:1], ["a", "b"]),
        (X, Y[:, None], ["a", "b"]),
        (X, Y, ["a"]),
        (X, Y - 1, ["a", "b"]),
    ],
)
def test_images_that_do_not_fit_together_are_refused(x, y, classes):
    with pytest.raises(ValueError, match="x must be|y must be|labels run"):
        Images(x, y, classes)


def test_slices_are_images():
    images = random_images(10)
    some = images[torch.tensor([3, 1])]
    assert torch.equal(some.x, images.x[[3, 1]]) and torch.equal(some.y, images.y[[3, 1]]) and some.classes == images.classes
    assert len(images[2:5]) == 3 and len(images[:0]) == 0


def test_one_image_is_as_batches_yield_it():
    images = replace(random_images(10), side=12)
    ((x, y),) = images.batches(10)
    for index in (0, 3, -1, -10, np.int64(4), True):
        image, label = images[index]
        assert torch.equal(image, x[int(index)]) and image.dtype == torch.float32 and image.shape == (3, 12, 12)
        assert label == y[int(index)] and type(label) is int


@pytest.mark.parametrize("index", [10, -11, 10**9])
def test_an_image_that_is_not_there_is_refused(index):
    with pytest.raises(IndexError, match=f"no image {index} in images; its 10 images"):
        random_images(10)[index]


@pytest.mark.parametrize(("index", "kind"), [("cat", "str"), (1.0, "float"), (None, "NoneType"), ((0, 1), "tuple")])
def test_an_index_of_another_type_is_refused(index, kind):
    with pytest.raises(TypeError, match=f"of type {kind}; it must be an int, a slice or a tensor"):
        random_images(4)[index]


def test_iterating_gives_each_image_once(monkeypatch):
    images = random_images(10)
    monkeypatch.setattr("atviz.data.images.EACH", 4)
    pairs = list(images)
    assert len(pairs) == 10
    assert all(torch.equal(x, images[i][0]) and y == images[i][1] and type(y) is int for i, (x, y) in enumerate(pairs))
    assert list(images[:0]) == []


def test_images_are_a_data_set_of_torch():
    images = random_images(10)
    (first, _), *_ = torch.utils.data.DataLoader(images, batch_size=4)
    assert torch.equal(first, next(images.batches(4))[0])


def test_the_note_stays_with_parts_and_is_not_in_the_digest():
    plain = random_images(10)
    images = replace(plain, note="drawn")
    assert images[:3].note == images[[1, 2]].note == images.sample(4).note == images.to("cpu").note == "drawn"
    assert plain.note == "" and images.digest == plain.digest


def test_digest_is_of_shape_pixels_and_labels():
    images = random_images(12)
    again = Images(images.x.clone(), images.y.clone(), images.classes, name="renamed")
    assert images.digest == again.digest == Images(images.x.contiguous(memory_format=torch.channels_last), images.y, images.classes).digest
    pixel = images.x.clone()
    pixel[7, 1, 3, 2] ^= 1
    variants = [
        Images(pixel, images.y, images.classes), Images(images.x, images.y.flip(0), images.classes), images[:11], images[torch.arange(12).flip(0)],
        Images(images.x.view(12, 3, 8, 32), images.y, images.classes),
    ]  # fmt: skip
    assert len({images.digest, *(variant.digest for variant in variants)}) == 6


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channel_stats_against_numpy(channels):
    images = random_images(50, channels)
    images.x[:, 0] //= 3
    mean, std = images.channel_stats()
    pixels = images.x.numpy() / 255
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3)), rtol=1e-9)


def test_spread_of_a_constant_channel_can_be_divided_by():
    mean, std = Images(torch.full((3, 1, 4, 4), 51, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), ["a"]).channel_stats()
    assert mean == pytest.approx([0.2]) and std[0] > 0


# --- batches


@pytest.mark.parametrize("shuffle", [False, True])
@given(n=st.integers(1, 40), batch_size=st.integers(1, 50))
def test_batches_cover_every_image_once(shuffle, n, batch_size):
    images = Images(torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1), torch.arange(n), list(map(str, range(n))))
    parts = list(images.batches(batch_size, shuffle=shuffle, generator=seeded(n)))
    assert [len(y) for _, y in parts[:-1]] == [batch_size] * (len(parts) - 1) and 1 <= len(parts[-1][1]) <= batch_size
    x, y = (torch.cat(side) for side in zip(*parts, strict=True))
    assert x.dtype == torch.float32 and torch.equal(x.flatten(), y / 255)  # each image with its own label, exactly a 255th
    assert sorted(y.tolist()) == list(range(n))
    assert shuffle or y.tolist() == list(range(n))


def test_pixels_of_batches_are_in_the_unit_range():
    x = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    ((pixels, _),) = Images(x, torch.tensor([0]), ["a"]).batches(1)
    assert pixels.min() == 0 and pixels.max() == 1
    assert torch.equal((pixels * 255).round().byte(), x)


def test_shuffling_follows_its_generator():
    images = random_images(30)
    order = lambda seed: torch.cat([x for x, _ in images.batches(7, shuffle=True, generator=seeded(seed))])
    assert torch.equal(order(1), order(1)) and not torch.equal(order(1), order(2))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(dict(batch_size=0), "batch_size is 0"), (dict(batch_size=4, augment="flop"), "'flop'.*flip, crop-flip, resized-crop-flip")],
)
def test_batches_that_cannot_be_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        next(random_images(4).batches(**options))


def test_own_augmentation_gets_the_batch_and_the_generator():
    draw, seen = seeded(), []

    def augment(x, generator):
        seen.append((x.dtype, len(x), generator))
        return 255 - x

    images = random_images(5)
    x = torch.cat([x for x, _ in images.batches(3, augment=augment, generator=draw)])
    assert torch.equal(x, (255 - images.x).float() / 255)
    assert seen == [(torch.uint8, 3, draw), (torch.uint8, 2, draw)]


# --- shares of a batch


def dealt(images, world, **options):
    """Batches made of the shares of ``world`` processes, each image in its place."""
    parts = [list(images.batches(7, share=(rank, world), generator=seeded(2), **options)) for rank in range(world)]
    for step in range(max(map(len, parts))):
        shares = [part[step] for part in parts if step < len(part)]
        x = torch.empty(sum(len(y) for _, y in shares), *images.shape)
        y = torch.empty(len(x), dtype=torch.int64)
        for rank, (some, labels) in enumerate(shares):
            x[rank::world], y[rank::world] = some, labels
        yield x, y


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "augment", [None, "flip", "crop-flip", "resized-crop-flip", lambda x, draw: x.roll(int(torch.randint(9, (), generator=draw)), 0)]
)
@pytest.mark.parametrize("side", [None, 12, 20])
def test_shares_are_the_batch_of_a_single_process(world, augment, side):
    images = replace(random_images(22), side=side)  # batches of 7, 7, 7 and 1: the last share of most processes is empty
    options = dict(shuffle=True, augment=augment)
    whole = list(images.batches(7, generator=seeded(2), **options))
    for (x, y), (one, labels) in zip(dealt(images, world, **options), whole, strict=True):
        assert torch.equal(y, labels) and torch.equal(x, one)
    draw = seeded(2)
    list(images.batches(7, generator=draw, share=(world - 1, world), **options))
    other = seeded(2)
    list(images.batches(7, generator=other, **options))
    assert torch.equal(draw.get_state(), other.get_state())  # what is drawn next, an attack's start for example, is the same


@pytest.mark.parametrize("share", [(2, 2), (-1, 2), (0, 0)])
def test_a_share_that_cannot_be_is_refused(share):
    with pytest.raises(ValueError, match="the rank must be at least 0"):
        next(random_images(4).batches(2, share=share))


# --- images held at another side than they are shown


def shown(images, **options):
    return torch.cat([x for x, _ in images.batches(7, **options)])


def test_smaller_images_are_enlarged_as_batches():
    images = replace(random_images(20, h=8, w=8), side=20)
    assert images.x.shape == (20, 3, 8, 8) and images.shape == (3, 20, 20)
    expected = [  # Pillow enlarges bilinearly with the same alignment of pixels
        np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).resize((20, 20), Image.Resampling.BILINEAR)) for image in images.x
    ]
    assert (shown(images) * 255 - torch.from_numpy(np.stack(expected)).permute(0, 3, 1, 2)).abs().max() <= 1.01  # a byte's rounding
    assert shown(images).amin() >= 0 and shown(images).amax() <= 1


def test_augmentation_comes_before_enlargement():
    images = replace(random_images(6, h=8, w=8), side=16)
    turned = shown(images, augment=lambda x, _: x.flip(-1))
    torch.testing.assert_close(turned, shown(replace(images, x=images.x.flip(-1))))


def test_larger_images_are_cropped_at_the_center():
    images = replace(random_images(20), side=12)
    assert images.shape == (3, 12, 12)
    assert torch.equal(shown(images), images.x[:, :, 2:14, 2:14] / 255)


def test_larger_images_are_cropped_anywhere_in_training():
    one = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    images = Images(one.expand(400, -1, -1, -1), torch.zeros(400, dtype=torch.int64), ["a"], side=12)
    keep = lambda x, _: x
    corners = {divmod(round(float(x[0, 0, 0]) * 255), 16) for x in shown(images, augment=keep, generator=seeded())}
    assert corners == {(i, j) for i in range(5) for j in range(5)}
    windows = torch.nn.functional.unfold(one / 255, 12).view(144, 25).T
    for x in shown(images, augment=keep, generator=seeded())[:30]:
        assert (windows - x.flatten()).abs().sum(1).min() < 1e-5
    assert torch.equal(shown(images, augment=keep, generator=seeded(1)), shown(images, augment=keep, generator=seeded(1)))
    assert not torch.equal(shown(images, augment=keep, generator=seeded(1)), shown(images, augment=keep, generator=seeded(2)))
    assert len({bytes((x * 255).byte().numpy()) for x in shown(images, augment="flip", generator=seeded())}) == 50  # mirrored, too


def test_the_side_stays_with_parts_and_counts_in_the_digest():
    plain = random_images(12)
    images = replace(plain, side=24)
    assert images[:5].side == images.sample(4).side == images.to("cpu").side == 24
    assert len({plain.digest, images.digest, replace(plain, side=12).digest}) == 3
    assert replace(plain, side=16).digest == plain.digest and torch.equal(shown(replace(plain, side=16)), shown(plain))
    assert images.channel_stats() == plain.channel_stats()


@pytest.mark.parametrize(("shape", "side"), [((8, 8), 0), ((8, 8), -1), ((8, 6), 16)])
def test_a_side_that_cannot_be_is_refused(shape, side):
    with pytest.raises(ValueError, match=f"side is {side}"):
        replace(random_images(2, h=shape[0], w=shape[1]), side=side)
