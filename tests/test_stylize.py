"""AdaIN against its own definition, styles that a seed fixes, files of the published layout, and the training of a decoder."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from atviz import checkpoints, codec, data, evaluate, models, shipped, stylize, stylize_encoder, stylize_train
from atviz.cli import app
from atviz.records import Store
from atviz.stylize import AdaIN, Stylizer, load_adain

VGG = [64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n, c=3, h=28, w=28, seed=0, dtype=torch.float32):
    return torch.rand(n, c, h, w, generator=seeded(seed), dtype=dtype)


def vgg(plan, shrink=16):
    """The well-known port's module list, channels divided: 1×1 convolution, then (pad, convolution, ReLU) and max-pools."""
    layers, before = [nn.Conv2d(3, 3, 1)], 3
    for item in plan:
        if item == "M":
            layers.append(nn.MaxPool2d(2, 2, 0, ceil_mode=True))
        else:
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(before, item // shrink, 3), nn.ReLU()]
            before = item // shrink
    network = nn.Sequential(*layers)
    codec.initialize(network)
    return network


def decoder(plan, shrink=16):
    """Its decoder: ``U`` doubles; the last convolution has no ReLU."""
    layers, before = [], plan[0] // shrink
    for item in plan[1:]:
        if item == "U":
            layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
        else:
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(before, item if item == 3 else item // shrink, 3), nn.ReLU()]
            before = item // shrink
    network = nn.Sequential(*layers[:-1])
    codec.initialize(network)
    with torch.no_grad():  # pixels around the middle of [0, 1]
        network[-1].weight *= 0.1
        network[-1].bias.fill_(0.5)
    return network


DEPTHS = {
    "relu3_1": (VGG[:7], [256, 128, "U", 128, 64, "U", 64, 3]),
    "relu4_1": (VGG[:12], [512, 256, "U", 256, 256, 256, 128, "U", 128, 64, "U", 64, 3]),
}


@pytest.fixture(params=DEPTHS)
def pair(request):
    encoder, decoder_ = DEPTHS[request.param]
    return vgg(encoder).eval(), decoder(decoder_).eval()


@pytest.fixture
def small_pair():
    return vgg([64, "M", 64]), decoder([64, 64, "U", 3])


# --- AdaIN


def test_toned_styles_are_gray_and_have_the_image_s_tones():
    content, style = 0.4 + 0.2 * images(5, 1), images(5, h=20, w=33, seed=1)
    toned = stylize.toned(style, content)
    assert toned.shape == (5, 1, 20, 33)
    np.testing.assert_allclose(toned.mean((2, 3)), content.mean((2, 3)), atol=1e-5)
    np.testing.assert_allclose(toned.std((2, 3), correction=0), content.std((2, 3), correction=0), atol=1e-5)
    gray = style.mean(1).flatten(1)
    assert all(np.corrcoef(a, b)[0, 1] > 0.9999 for a, b in zip(toned.flatten(1).numpy(), gray.numpy(), strict=True))
    harsh = stylize.toned(style, (content > 0.5).float())
    assert harsh.min() == 0 and harsh.max() == 1  # clamped


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_become_the_style_s(dtype):
    features = 3 * torch.randn(4, 8, 7, 9, generator=seeded(1), dtype=dtype) + torch.arange(8, dtype=dtype).view(-1, 1, 1)
    style = torch.rand(4, 8, 5, 5, generator=seeded(2), dtype=dtype) ** 2
    mixed = stylize.adain(features, *stylize.moments(style)).numpy()
    wanted = style.numpy()
    np.testing.assert_allclose(mixed.mean((2, 3)), wanted.mean((2, 3)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mixed.std((2, 3)), wanted.std((2, 3)), rtol=1e-5)
    # an increasing affine map of each channel: the order of its places is kept
    np.testing.assert_array_equal(mixed.reshape(4, 8, -1).argsort(2), features.numpy().reshape(4, 8, -1).argsort(2))


def test_a_constant_channel_becomes_the_mean():
    features = torch.randn(1, 2, 6, 6)
    features[:, 1] = 0.3
    mixed = stylize.adain(features, torch.tensor([1.0, 2.0]).view(1, 2, 1, 1), torch.ones(1, 2, 1, 1))
    assert torch.equal(mixed[:, 1], torch.full((1, 6, 6), 2.0))


def test_the_decoder_is_given_features_with_the_style_s_moments(pair):
    encoder, decoder_ = pair
    content, style = images(3, h=40, w=44), images(3, h=56, w=36, seed=1) ** 2
    given = []
    decoder_.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    with torch.no_grad():
        AdaIN(encoder, decoder_)(content, style)
        mean, std = stylize.moments(encoder(style))
        varies = encoder(content).std((2, 3)) > 1e-4
    got_mean, got_std = stylize.moments(given[0])
    assert torch.allclose(got_mean, mean, atol=1e-5)
    assert varies.float().mean() > 0.3
    assert torch.allclose(got_std[varies], std[varies], rtol=1e-3)


def test_alpha_zero_is_the_plain_decode(pair):
    encoder, decoder_ = pair
    content, network = images(2, h=37, w=30), AdaIN(*pair)
    with torch.no_grad():
        plain = decoder_(encoder(content))[..., :37, :30].clamp(0, 1)
        assert torch.equal(network(content, images(2, seed=1), alpha=0), plain)
        assert not torch.allclose(network(content, images(2, seed=1) ** 3), plain, atol=1e-3)


def test_alpha_mixes_the_features(pair):
    encoder, decoder_ = pair
    content, style = images(2, h=32, w=32), images(2, h=32, w=32, seed=1) ** 2
    with torch.no_grad():
        c, s = encoder(content), encoder(style)
        own, wanted = stylize.moments(c), stylize.moments(s)
        normal = torch.where(own[1] > 1e-6, (c - own[0]) / own[1].clamp(min=1e-6), 0)
        mixed = 0.3 * (normal * wanted[1] + wanted[0]) + 0.7 * c
        found = AdaIN(encoder, decoder_)(content, style, alpha=0.3)
    assert torch.allclose(found, decoder_(mixed).clamp(0, 1), atol=1e-4)


@pytest.mark.parametrize("size", [(28, 28), (29, 31), (64, 5), (3, 3), (1, 7)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_gives_that_size(pair, size, channels):
    x = images(2, channels, *size)
    with torch.no_grad():
        y = AdaIN(*pair)(x, images(1, h=20, w=33))
    assert y.shape == x.shape
    assert y.min() >= 0 and y.max() <= 1


def test_gray_is_the_mean_of_the_repeated_image(small_pair):
    network, gray, style = AdaIN(*small_pair), images(2, 1), images(2, 1, seed=1)
    with torch.no_grad():
        colored = network(gray.expand(-1, 3, -1, -1), style.expand(-1, 3, -1, -1))
        assert torch.allclose(network(gray, style), colored.mean(1, keepdim=True))


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), float("inf")])
def test_alpha_outside_is_refused(small_pair, alpha):
    with pytest.raises(ValueError, match=r"alpha is .*must be in \[0, 1\]"):
        AdaIN(*small_pair)(images(1), images(1), alpha=alpha)
    with pytest.raises(ValueError, match=r"alpha is"):
        Stylizer(AdaIN(*small_pair), images(2), alpha=alpha)


def test_what_does_not_fit_is_refused(small_pair):
    network = AdaIN(*small_pair)
    for content, style, message in [
        (images(2, 4), images(2), "images have 4 channels, but the encoder takes 3"),
        (images(3), images(2), "2 styles for 3 images"),
        (images(2) + 1, images(2), "must be in \\[0, 1\\]"),
        (images(2), 255 * images(2), "must be in \\[0, 1\\]"),
        (images(2)[0], images(2), "N, C, H, W"),
    ]:
        with pytest.raises(ValueError, match=message):
            network(content, style)


# --- files


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_published_layout_loads(pair, tmp_path, suffix):
    for name, network in zip(["encoder", "decoder"], pair, strict=True):
        if suffix == ".pth":
            torch.save(network.state_dict(), tmp_path / (name + suffix))
        else:
            save_file(network.state_dict(), tmp_path / (name + suffix))
    loaded = load_adain(encoder=tmp_path / f"encoder{suffix}", decoder=tmp_path / f"decoder{suffix}")
    content, style = images(2, h=36, w=40), images(2, h=32, w=32, seed=1)
    with torch.no_grad():
        assert torch.equal(loaded.encoder(content), pair[0](content))
        assert torch.equal(loaded(content, style, alpha=0), pair[1](pair[0](content))[..., :36, :40].clamp(0, 1))
    assert not loaded.training


def test_a_whole_vgg_is_cut_to_its_decoder(tmp_path):
    whole = vgg(VGG)
    torch.save(whole.state_dict(), tmp_path / "vgg.pth")
    for plan in DEPTHS.values():
        torch.save(decoder(plan[1]).state_dict(), tmp_path / "decoder.pth")
        loaded = load_adain(encoder=tmp_path / "vgg.pth", decoder=tmp_path / "decoder.pth")
        content = images(1, h=32, w=32)
        with torch.no_grad():
            assert torch.equal(loaded.encoder(content), whole[: len(vgg(plan[0]))](content))


def test_wrong_files_are_refused_in_a_sentence(small_pair, tmp_path):
    encoder, decoder_, other = tmp_path / "encoder.pth", tmp_path / "decoder.pth", tmp_path / "other"
    torch.save(small_pair[0].state_dict(), encoder)
    torch.save(small_pair[1].state_dict(), decoder_)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_adain(encoder=tmp_path / "missing.pth", decoder=decoder_)
    with pytest.raises(ValueError, match="do not fit together|published layout"):
        load_adain(encoder=decoder_, decoder=encoder)
    torch.save(models.build("small-w4", num_classes=2).state_dict(), other)
    with pytest.raises(ValueError, match="holds no encoder in the published layout"):
        load_adain(encoder=other, decoder=decoder_)
    torch.save(decoder(DEPTHS["relu3_1"][1]).state_dict(), other)
    with pytest.raises(ValueError, match="do not fit together"):
        load_adain(encoder=encoder, decoder=other)
    torch.save(small_pair[0], other)  # a pickled module, which could run code
    with pytest.raises(ValueError, match="holds no weights"):
        load_adain(encoder=other, decoder=decoder_)
    other.write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="holds no weights"):
        load_adain(encoder=other, decoder=decoder_)
    (tmp_path / "damaged.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(ValueError, match="holds no weights"):
        load_adain(encoder=tmp_path / "damaged.safetensors", decoder=decoder_)
    with pytest.raises(ValueError, match="needs encoder=PATH and decoder=PATH"):
        load_adain(encoder)


@torch.no_grad()
def style_distance(network, x, styles):
    """Mean squared difference of the moments of pairs, summed over the small encoder's two layers next to its max-pool and its last."""
    total = 0.0
    for end in (4, 11, len(network.encoder)):
        ours, theirs = (stylize.moments(network.encoder[:end](pixels.expand(-1, 3, -1, -1))) for pixels in (x, styles))
        total += sum((a - b).square().mean().item() for a, b in zip(ours, theirs, strict=True))
    return total


def test_the_small_pair_ships():
    folder = shipped("checkpoints", "adain-small")
    network, card = load_adain("small"), checkpoints.read_card(folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2_000_000
    assert {"command", "versions", "seed", "metrics", "history"} <= card.keys()
    checkpoints.read(folder)  # its hash is the card's
    assert card["history"][-1]["style_loss"] < card["history"][0]["style_loss"]
    x = next(data.load("fashion", "test", limit=200).batches(200))[0]
    styles = stylize.procedural(40, size=28, seed=3)
    plain, half, full = (Stylizer(network, styles, alpha) for alpha in (0, 0.5, 1))
    assert (plain(x) - x).abs().mean() < 0.08  # alpha 0 gives about the image again
    # alpha 1 takes the larger part of the distance to the style, which is measured as in the training
    toned = stylize.toned(styles[full.choose(x)], x)
    before, midway, after = (style_distance(network, pixels, toned) for pixels in (x, half(x), full(x)))
    assert after < 0.5 * before and after < midway < before


# --- styles


def test_procedural_styles_are_the_seed_s():
    styles = stylize.procedural(12, size=28, seed=4)
    assert styles.shape == (12, 3, 28, 28) and styles.dtype == torch.float32
    assert styles.min() >= 0 and styles.max() <= 1
    assert torch.equal(styles[:7], stylize.procedural(7, size=28, seed=4))
    assert not torch.equal(styles, stylize.procedural(12, size=28, seed=5))
    assert torch.equal(styles * 255, (styles * 255).round())
    # every one is a texture, also in gray, and no two are alike
    assert styles.mean(1).std((1, 2)).min() > 0.02
    assert len(torch.unique(styles.flatten(1), dim=0)) == 12


def test_stripes_have_one_direction_and_the_period_that_is_stated():
    stripes = stylize.procedural(100, size=60, seed=0)[::5].mean(1)
    spectrum = torch.fft.fft2(stripes - stripes.mean((1, 2), keepdim=True)).abs()
    v, u = torch.meshgrid(torch.fft.fftfreq(60), torch.fft.fftfreq(60), indexing="ij")
    peak = torch.hypot(u, v).flatten()[spectrum.flatten(1).argmax(1)]
    assert ((peak > 1 / 40) & (peak < 1 / 8)).all()  # periods of 10 to 24 pixels, to a mode's width
    power = spectrum.flatten(1).square()
    assert (power.topk(20).values.sum(1) / power.sum(1)).median() > 0.7


@pytest.mark.parametrize("values", [dict(n=0, size=8), dict(n=3, size=0), dict(n=-1, size=8)])
def test_procedural_refuses_nothing(values):
    with pytest.raises(ValueError, match="at least 1"):
        stylize.procedural(**values)


def test_a_folder_of_styles(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        stylize.load_styles(tmp_path / "nowhere", size=16)
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match="holds no images"):
        stylize.load_styles(tmp_path, size=16)
    (tmp_path / "a").mkdir()
    Image.new("RGB", (40, 20), (255, 0, 51)).save(tmp_path / "b.png")
    Image.new("L", (10, 30), 102).save(tmp_path / "a" / "gray.png")
    styles = stylize.load_styles(tmp_path, size=16)
    assert styles.shape == (2, 3, 16, 16)
    assert torch.allclose(styles.mean((2, 3)), torch.tensor([[0.4, 0.4, 0.4], [1.0, 0.0, 0.2]]))
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"1 of 3 image files .*broken\.jpg"):
        stylize.load_styles(tmp_path, size=16)
    assert torch.equal(stylize.load_styles("procedural", n=5, size=9, seed=2), stylize.procedural(5, size=9, seed=2))


# --- the distortion


def test_an_image_gets_the_same_style_whatever_the_batch(small_pair):
    distort = Stylizer(AdaIN(*small_pair), stylize.procedural(40, size=20), seed=3)
    x = images(30, 1)
    together = distort(x)
    order = torch.randperm(30, generator=seeded(1))
    assert torch.equal(distort.choose(x[order]), distort.choose(x)[order])
    assert torch.allclose(distort(x[order]), together[order], atol=1e-5)
    assert torch.allclose(torch.cat([distort(part) for part in x.split(7)]), together, atol=1e-5)
    assert len(distort.choose(x).unique()) > 10
    assert not torch.equal(Stylizer(distort.network, distort.styles, seed=4).choose(x), distort.choose(x))


def test_each_image_is_stylized_by_the_style_chosen_for_it(small_pair, monkeypatch):
    network, styles, x = AdaIN(*small_pair).train(), stylize.procedural(10, size=20), images(9)
    monkeypatch.setattr(stylize, "CHUNK", 2 * 28 * 28)
    distort = Stylizer(network, styles, 0.7)
    with torch.no_grad():
        assert torch.allclose(distort(x), network(x, styles[distort.choose(x)], alpha=0.7), atol=1e-5)
    assert network.training


def test_gray_images_get_their_style_in_their_own_tones(small_pair, monkeypatch):
    network, styles, x = AdaIN(*small_pair), stylize.procedural(10, size=20), images(9, 1) ** 3
    monkeypatch.setattr(stylize, "CHUNK", 2 * 28 * 28)
    distort = Stylizer(network, styles, 0.7)
    with torch.no_grad():
        assert torch.allclose(distort(x), network(x, stylize.toned(styles[distort.choose(x)], x), alpha=0.7), atol=1e-5)
        assert not torch.allclose(distort(x), network(x, styles[distort.choose(x)], alpha=0.7), atol=1e-2)


def test_the_key_says_all_that_the_result_depends_on(small_pair):
    network, styles = AdaIN(*small_pair), stylize.procedural(4, size=12)
    keys = [Stylizer(network, styles, a, s).key for a, s in [(1, 0), (0.5, 0), (1, 1)]]
    keys += [Stylizer(network, styles[:3]).key, Stylizer(AdaIN(vgg([64, "M", 64]), small_pair[1]), styles).key]
    assert len(set(keys)) == len(keys)
    assert Stylizer(network, styles.clone(), 1.0).key == keys[0]


def test_a_sweep_keeps_it_in_the_records(small_pair, fashion, trained, tmp_path):
    distort = {"stylize": {1.0: Stylizer(AdaIN(*small_pair), stylize.procedural(4, size=28))}}
    first, second = Store(tmp_path), Store(tmp_path)
    rows = evaluate.sweep({"m": trained}, fashion[:60], distort, store=first)
    assert evaluate.sweep({"m": trained}, fashion[:60], distort, store=second, batch_size=7).equals(rows)
    assert (first.computed, second.computed, second.read) == (2, 0, 2)


def test_no_styles_are_refused(small_pair):
    with pytest.raises(ValueError, match="no styles"):
        Stylizer(AdaIN(*small_pair), torch.zeros(0, 3, 8, 8))


# --- training


def test_channels_are_scaled_to_a_mean_square_of_one_and_nothing_else_changes():
    encoder, x = stylize_encoder.small_encoder(), images(16)
    decoder_ = codec.mirrored(encoder)
    before = encoder(x)
    out = decoder_(before)
    stylize_encoder.normalize(encoder, x, decoder_)
    after = encoder(x)
    active = before.square().mean((0, 2, 3)).sqrt() > 0.1
    assert active.float().mean() > 0.5
    assert torch.allclose(after.square().mean((0, 2, 3))[active], torch.ones(int(active.sum())), atol=1e-3)
    assert torch.allclose(decoder_(after), out, atol=1e-3)


def test_a_few_steps_lower_the_loss(fashion):
    torch.manual_seed(0)
    encoder = stylize_encoder.small_encoder().eval()
    styles = stylize.procedural(20, size=28)
    decoder_, history = stylize_train.train_decoder(encoder, fashion, styles, steps=40, batch=8)
    assert sum(history[-1][k] for k in ("content_loss", "style_loss")) < 0.7 * sum(history[0][k] for k in ("content_loss", "style_loss"))
    assert decoder_(encoder(images(1))).shape == (1, 3, 28, 28)


def test_a_decoder_for_gray_images_is_trained_with_toned_styles(fashion):
    encoder, given = stylize_encoder.small_encoder(), []
    encoder[0].register_forward_pre_hook(lambda _, args: given.append(args[0]))
    stylize_train.train_decoder(encoder, fashion, stylize.procedural(20, size=28), steps=3, batch=32)
    for style, content in [(given[i][8:], given[i + 1][8:]) for i in (0, 3, 6)]:  # the first quarter is stylized by itself
        gray = (content == content[:, :1]).flatten(1).all(1)
        assert 0 < gray.sum() < len(gray)
        assert torch.equal((style == style[:, :1]).flatten(1).all(1), gray)
        assert (style[gray].mean((1, 2, 3)) - content[gray].mean((1, 2, 3))).abs().mean() < 0.05  # not 0: clamped


def test_painted_images_keep_their_outline(fashion):
    x = fashion.x[:60].float() / 255
    painted, drawn = stylize_encoder.paint(x, stylize.procedural(50, size=28), seeded())
    assert painted.shape == (60, 3, 28, 28)
    assert (drawn >= 0).float().mean() == pytest.approx(1 / 4, abs=0.15)
    as_it_was = (painted == x).flatten(1).all(1)
    assert as_it_was.float().mean() == pytest.approx(1 / 2, abs=0.2)
    assert (drawn[as_it_was] == -1).all()


def test_the_command_trains_a_pair_that_loads(tmp_path, monkeypatch):
    command = ["stylize", "train", "--steps", "3", "--encoder-steps", "2", "--train-limit", "50", "--batch-size", "4"]
    done = CliRunner().invoke(app, [*command, "--encoder", "new", "--out", str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    card = json.loads((tmp_path / "new" / "card.json").read_text())
    assert card["recipe"]["steps"] == 3 and card["metrics"]["style_loss"] > 0
    assert load_adain(tmp_path / "new")(images(1), images(1)).shape == (1, 3, 28, 28)
    # again with that encoder, read from a file; and with styles from a folder
    encoder = {k.removeprefix("encoder."): v for k, v in checkpoints.read(tmp_path / "new")[0].items() if k.startswith("encoder.")}
    torch.save(encoder, tmp_path / "encoder.pth")
    Image.new("RGB", (40, 40), (255, 0, 51)).save(tmp_path / "red.png")
    again = [*command, "--encoder", str(tmp_path / "encoder.pth"), "--styles", str(tmp_path), "--out", str(tmp_path / "again")]
    assert CliRunner().invoke(app, again).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--styles", "/nowhere"], "is not a folder"),
        (["--encoder", "/nowhere.pth"], "no weights at"),
        (["--steps", "0"], "steps is 0"),
        (["--dataset", "fashon"], "did you mean 'fashion'"),
        (["--encoder", "decoder.pth"], "decoder.pth begins with 4 channels; an encoder takes the 3 of an image"),
        (["--size", "2"], "images are 2×2 pixels; this encoder needs at least"),
    ],
)
def test_the_command_refuses_in_a_sentence(tmp_path, monkeypatch, small_pair, arguments, message):
    monkeypatch.chdir(tmp_path)
    torch.save(small_pair[1].state_dict(), "decoder.pth")
    done = CliRunner().invoke(app, ["stylize", "train", "--train-limit", "50", *arguments, "--out", str(tmp_path / "pair")])
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "pair").exists()
