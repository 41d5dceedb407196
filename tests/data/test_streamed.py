"""Streamed images against the same images held in memory."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from atviz import data
from atviz.data import Streamed, kinds, streamed

SIDES = [(20, 20), (30, 24), (24, 40)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two splits of three classes, of images of several sizes."""
    root, rng = tmp_path_factory.mktemp("images") / "things", np.random.default_rng(0)
    for split, n in (("train", 8), ("val", 4)):
        for label, name in enumerate(("bird", "cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for i in range(n):
                h, w = SIDES[(i + label) % 3]
                low = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
                Image.fromarray(low).resize((w, h), Image.Resampling.BILINEAR).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture
def both(folder, monkeypatch):
    """The training images in memory and streamed by two workers."""
    held = data.load(f"folder:{folder}", size=16)
    monkeypatch.setattr(kinds, "STREAMED_ABOVE", 24 * 3 * 16 * 16 - 1)
    streamed = data.load(f"folder:{folder}", size=16)
    assert isinstance(streamed, Streamed) and not isinstance(held, Streamed)
    return held, replace(streamed, workers=2)


def pixels(images, batch_size=7, **options):
    x, y = zip(*images.batches(batch_size, **options), strict=True)
    return torch.cat(x), torch.cat(y)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_images_in_memory(both, workers):
    held, streamed = both[0], replace(both[1], workers=workers)
    assert (len(streamed), streamed.shape, streamed.classes, streamed.name) == (24, held.shape, held.classes, held.name)
    assert same(pixels(streamed), pixels(held))
    assert all(x.is_contiguous() for x, _ in streamed.batches(10))
    options = dict(shuffle=True, augment="crop-flip")
    assert same(pixels(streamed, generator=seeded(1), **options), pixels(held, generator=seeded(1), **options))
    assert [len(y) for _, y in streamed.batches(10)] == [10, 10, 4]


def test_a_limit_below_the_memory_is_held(folder, monkeypatch):
    monkeypatch.setattr(kinds, "STREAMED_ABOVE", 6 * 3 * 16 * 16)
    assert not isinstance(data.load(f"folder:{folder}", size=16, limit=6), Streamed)
    assert isinstance(data.load(f"folder:{folder}", size=16, limit=7), Streamed)


def test_images_of_one_size_stream_as_they_are(tmp_path, monkeypatch):
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(tmp_path / split / "a" / "0.png")
    held = data.load(f"folder:{tmp_path}")
    monkeypatch.setattr(kinds, "STREAMED_ABOVE", 0)
    streamed = data.load(f"folder:{tmp_path}")
    assert isinstance(streamed, Streamed) and streamed.shape == (3, 9, 9) and same(pixels(streamed), pixels(held))


def test_parts_and_samples_are_those_of_images_in_memory(both):
    held, streamed = both
    for index in (slice(3, 17, 2), torch.tensor([5, 0, 5]), held.y == 1):
        assert same(pixels(streamed[index]), pixels(held[index]))
    assert same(pixels(streamed.sample(9, seed=4)), pixels(held.sample(9, seed=4)))
    for index in (0, 11, -1):
        (x, y), (expected, label) = streamed[index], held[index]
        assert torch.equal(x, expected) and y == label
    assert streamed.channel_stats() == held.channel_stats()


def test_no_pixels_are_held(both):
    assert both[1].x.device.type == "meta" and both[1].x.shape == both[0].x.shape
    assert same(pixels(both[1].to("cpu")), pixels(both[0]))


def test_random_crops_do_not_depend_on_the_number_of_workers(both):
    _, streamed = both
    draw = lambda workers, seed=1, size=5: pixels(
        replace(streamed, workers=workers), size, shuffle=True, augment="resized-crop-flip", generator=seeded(seed)
    )
    one = draw(0)
    assert same(one, draw(1)) and same(one, draw(3)) and same(one, draw(2, size=9))
    assert not same(one, draw(2, seed=2))
    plain = pixels(streamed)[0][pixels(streamed, shuffle=True, generator=seeded(1))[1].argsort()]
    assert one[0].shape == plain.shape and not torch.equal(one[0], plain)


@pytest.mark.parametrize("augment", [None, "crop-flip", "resized-crop-flip"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_process_decodes_its_share_alone(both, monkeypatch, augment, workers):
    images, decoded, attempt = replace(both[1], workers=workers), [], streamed.attempt
    monkeypatch.setattr(streamed, "attempt", lambda path, size: decoded.append(path) or attempt(path, size))
    options = dict(shuffle=True, augment=augment)
    whole = list(images.batches(5, generator=seeded(1), **options))
    for rank in range(3):
        decoded.clear()
        share = list(images.batches(5, generator=seeded(1), share=(rank, 3), **options))
        assert len(share) == len(whole) == 5  # of 5, 5, 5, 5 and 4 images
        assert all(torch.equal(x, a[rank::3]) and torch.equal(y, b[rank::3]) for (x, y), (a, b) in zip(share, whole, strict=True))
        assert workers or len(decoded) == len(set(decoded)) == sum(len(y) for _, y in share) == (10, 9, 5)[rank]
    own = lambda x, draw: x.roll(1, 0)  # needs the whole batch
    shares = [list(images.batches(5, augment=own, share=(rank, 2))) for rank in (0, 1)]
    for (x, _), (a, _), (b, _) in zip(images.batches(5, augment=own), *shares, strict=True):
        assert torch.equal(x[0::2], a) and torch.equal(x[1::2], b)


def test_an_empty_share_is_left_out(both):
    images = replace(both[1][:13], workers=0)
    assert [len(list(images.batches(4, share=(rank, 4), augment="flip"))) for rank in range(4)] == [4, 3, 3, 3]


def test_chunks_are_put_together_again(both, monkeypatch):
    monkeypatch.setattr(streamed, "CHUNK", 3)
    for workers in (0, 2):
        assert same(pixels(replace(both[1], workers=workers), 8), pixels(both[0], 8))


def test_one_image_decodes_one_file(both, monkeypatch):
    decoded, attempt = [], streamed.attempt
    monkeypatch.setattr(streamed, "attempt", lambda path, size: decoded.append(path) or attempt(path, size))
    both[1][5]
    assert decoded == [both[1].files[5]]


def test_what_is_said_of_the_images_is_kept(tmp_path, monkeypatch):
    for i in range(5):
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.fromarray(np.full((9, 9, 3), i, dtype=np.uint8)).save(tmp_path / "a" / f"{i}.png")
    monkeypatch.setattr(kinds, "STREAMED_ABOVE", 0)
    images = data.load(f"folder:{tmp_path}")
    assert isinstance(images, Streamed) and "a fifth of each class" in images.note
    assert images[:2].note == images.sample(2).note == images.to("cpu").note == images.note


def test_statistics_are_decoded_once(both, monkeypatch):
    expected, images = both[0].channel_stats(), replace(both[1], workers=0)
    assert images.channel_stats() == expected
    monkeypatch.setattr(streamed, "attempt", lambda *_: pytest.fail("decoded again"))
    assert images.channel_stats() == expected


def test_random_crops_are_of_the_whole_image(tmp_path, monkeypatch):
    (tmp_path / "train" / "a").mkdir(parents=True)
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, :20, 0] = wide[:, 40:, 1] = 255  # left and right of the center square
    for i in range(50):  # a fifth is drawn to test on
        Image.fromarray(wide).save(tmp_path / "train" / "a" / f"{i}.png")
    monkeypatch.setattr(kinds, "STREAMED_ABOVE", 0)
    images = replace(data.load(f"folder:{tmp_path}", size=16), workers=0)
    assert pixels(images)[0][..., 2:-2].amax() == 0
    x, _ = pixels(images, augment="resized-crop-flip", generator=seeded())
    assert x[:, 0].amax() == x[:, 1].amax() == 1 and x[:, 2].amax() == 0


def test_the_global_random_numbers_are_left_alone(both):
    before = torch.get_rng_state()
    for workers in (0, 2):
        pixels(replace(both[1], workers=workers), augment="resized-crop-flip", shuffle=True, generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_digest_is_of_names_sizes_labels_and_shape(folder, tmp_path, both):
    streamed = both[1]
    load = lambda root, **options: data.load(f"folder:{root}", **{"size": 16, **options})
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    assert load(copy).digest == streamed.digest  # not of where it lies
    others = [load(folder, size=24), load(folder, split="test"), streamed[1:], replace(streamed, y=streamed.y.flip(0))]
    (copy / "train" / "cat" / "0.png").rename(copy / "train" / "cat" / "00.png")
    others.append(load(copy))
    (copy / "train" / "cat" / "00.png").rename(copy / "train" / "cat" / "0.png")
    Image.new("RGB", (20, 20)).save(copy / "train" / "cat" / "0.png")
    others.append(load(copy))
    assert len({images.digest for images in [streamed, *others]}) == len(others) + 1


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("augment", [None, "resized-crop-flip"])
def test_a_file_that_cannot_be_read_is_named(folder, tmp_path, monkeypatch, workers, augment):
    shutil.copytree(folder, tmp_path / "things")
    broken = tmp_path / "things" / "train" / "dog" / "3.png"
    broken.write_bytes(broken.read_bytes()[:90])
    monkeypatch.setattr(kinds, "STREAMED_ABOVE", 0)
    images = replace(data.load(f"folder:{tmp_path / 'things'}", size=16), workers=workers)
    with pytest.raises(
        ValueError, match=r"^1 of 6 image files cannot be read; remove or replace \S+dog/3.png \([^\n]+\); or run atviz data check[^\n]+$"
    ):
        pixels(images, 6, augment=augment, generator=seeded())


@pytest.mark.parametrize(("options", "sentence"), [(dict(batch_size=0), "batch_size is 0"), (dict(batch_size=4, augment="flop"), "'flop'")])
def test_batches_that_cannot_be_are_refused(both, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        next(both[1].batches(**options))


def test_training_and_measuring_run_unchanged(both, folder):
    from atviz import evidence, models, training  # the rooms above, for this test only

    held, streamed = both
    test = replace(data.load(f"folder:{folder}", "test", size=16), name="same")
    accuracies, histories = [], []
    for images in (held, streamed):
        torch.manual_seed(0)
        model = models.build("small-w4", num_classes=3, image_size=16)
        recipe = training.Recipe("normal", epochs=2, batch_size=8, lr=0.05, augment="crop-flip")
        report = training.fit(model, recipe, images, test, fabric=training.make_fabric(accelerator="cpu", precision="32-true"))
        histories.append([{key: row[key] for key in ("loss", "train_accuracy", "clean")} for row in report["history"]])
        model.eval()
        accuracies.append(evidence.accuracy(model, images, topk=(1, 2)))
        accuracies[-1] |= evidence.sweep({"m": model}, images, {"saturate": [8]}).to_dict("records")[0]
        accuracies[-1] |= {name: values.tolist() for name, values in evidence.saliency_scores(model, images).items()}
    assert histories[0] == histories[1] and accuracies[0] == accuracies[1]


@pytest.fixture
def caltech(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("001.a", "002.b"):
        (tmp_path / "caltech" / name).mkdir(parents=True)
        for i in range(5):
            Image.fromarray(rng.integers(0, 256, (30, 36, 3), dtype=np.uint8)).save(tmp_path / "caltech" / name / f"{i}.jpg")
    return tmp_path / "caltech"


def test_an_archive_is_cropped_as_in_memory(caltech, monkeypatch):
    held = data.load("caltech256", root=caltech, size=14)
    monkeypatch.setattr(kinds, "STREAMED_ABOVE", 0)
    streamed = data.load("caltech256", root=caltech, size=14)
    assert isinstance(streamed, Streamed) and streamed.x.shape == held.x.shape == (8, 3, 16, 16)
    assert streamed.shape == held.shape == (3, 14, 14) and same(pixels(streamed), pixels(held))
    assert same(pixels(streamed, augment="flip", generator=seeded()), pixels(held, augment="flip", generator=seeded()))
    assert pixels(streamed, augment="resized-crop-flip", generator=seeded())[0].shape == (8, 3, 14, 14)


@pytest.mark.parametrize(("cores", "workers"), [(1, 0), (2, 2), (64, 16)])
def test_a_process_has_a_worker_for_each_core(monkeypatch, cores, workers):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert Streamed(torch.empty(0, 3, 2, 2, dtype=torch.uint8), torch.empty(0, dtype=torch.int64), []).workers == workers
