import pytest
import torch
from PIL import Image

from atviz.data import Images, procedural
from atviz.distortions import load_adain, mirrored
from atviz.models import checkpoints
from atviz.training.adain_decoder import train_decoder, train_pair
from atviz.training.adain_encoder import small_encoder

OPTIONS = dict(styles="procedural", steps=3, encoder_steps=2, batch=4, lr=1e-3, style_weight=10.0, seed=0)


def test_a_few_steps_lower_the_loss(fashion):
    encoder = small_encoder().eval()
    decoder, history = train_decoder(encoder, fashion, procedural(20, size=28), steps=40, batch=8)
    first, last = (row["content_loss"] + row["style_loss"] for row in (history[0], history[-1]))
    assert last < 0.7 * first
    assert decoder(encoder(torch.rand(1, 3, 28, 28))).shape == (1, 3, 28, 28)


def test_a_decoder_for_gray_images_is_trained_with_toned_styles(fashion):
    encoder, given = small_encoder(), []
    encoder[0].register_forward_pre_hook(lambda _, args: given.append(args[0]))
    train_decoder(encoder, fashion, procedural(20, size=28), steps=3, batch=32)
    for style, content in [(given[i][8:], given[i + 1][8:]) for i in (0, 3, 6)]:  # the first quarter is stylized by itself
        gray = (content == content[:, :1]).flatten(1).all(1)
        assert 0 < gray.sum() < len(gray)
        assert torch.equal((style == style[:, :1]).flatten(1).all(1), gray)
        assert (style[gray].mean((1, 2, 3)) - content[gray].mean((1, 2, 3))).abs().mean() < 0.05  # not 0: clamped


def test_a_loss_that_is_not_finite_is_refused(fashion):
    with pytest.raises(FloatingPointError, match=r"became (nan|inf) in step \d+; a lower lr than 1e\+30 may help"):
        train_decoder(small_encoder(), fashion, procedural(4, size=28), steps=9, batch=4, lr=1e30)


def test_a_pair_is_trained_that_loads(fashion, tmp_path):
    state, card = train_pair("new", fashion[:50], **OPTIONS)
    checkpoints.save(tmp_path / "new", state, card)
    card = checkpoints.read_card(tmp_path / "new")
    assert card["recipe"]["steps"] == 3 and card["metrics"]["style_loss"] > 0
    pair, x = load_adain(tmp_path / "new"), torch.rand(1, 3, 28, 28)
    assert pair(x, x).shape == (1, 3, 28, 28)
    # again with that encoder, read from a file; and with styles from a folder
    torch.save(pair.encoder.state_dict(), tmp_path / "encoder.pth")
    Image.new("RGB", (40, 40), (255, 0, 51)).save(tmp_path / "red.png")
    again, card = train_pair(str(tmp_path / "encoder.pth"), fashion[:50], **OPTIONS | dict(styles=str(tmp_path)))
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.items() if name.startswith("encoder."))
    assert card["recipe"]["encoder"] == "encoder.pth" and card["recipe"]["encoder_steps"] == 0


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        ("small", dict(styles="/nowhere"), "is not a folder"),
        ("/nowhere.pth", {}, "no weights at"),
        ("small", dict(steps=0), "steps is 0"),
        ("small", dict(encoder_steps=-1), "encoder_steps is -1"),
        ("small", dict(batch=0), "batch_size is 0"),
        ("small", dict(lr=float("nan")), "lr is nan"),
        ("small", dict(style_weight=float("inf")), "style_weight is inf"),
        ("decoder.pth", {}, "decoder.pth begins with 64 channels; an encoder takes the 3 of an image"),
    ],
)
def test_what_cannot_be_trained_is_refused(fashion, tmp_path, monkeypatch, encoder, options, message):
    monkeypatch.chdir(tmp_path)
    torch.save(mirrored(small_encoder()).state_dict(), "decoder.pth")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train_pair(encoder, fashion[:50], **OPTIONS | options)


def test_images_too_small_for_the_encoder_are_refused(fashion):
    tiny = Images(fashion.x[:50, :, :2, :2], fashion.y[:50], fashion.classes, "tiny")
    with pytest.raises(ValueError, match="images are 2×2 pixels; this encoder needs at least 3×3"):
        train_pair("small", tiny, **OPTIONS)
