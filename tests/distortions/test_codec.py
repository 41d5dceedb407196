import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from atviz.distortions import load_adain, mirrored
from atviz.models import build


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_published_layout_loads(pair, images, tmp_path, suffix):
    for name, network in zip(["encoder", "decoder"], pair, strict=True):
        (torch.save if suffix == ".pth" else save_file)(network.state_dict(), tmp_path / (name + suffix))
    loaded = load_adain(encoder=tmp_path / f"encoder{suffix}", decoder=tmp_path / f"decoder{suffix}")
    content, style = images(2, h=36, w=40), images(2, h=32, w=32, seed=1)
    with torch.no_grad():
        assert torch.equal(loaded.encoder(content), pair[0](content))
        assert torch.equal(loaded(content, style, alpha=0), pair[1](pair[0](content))[..., :36, :40].clamp(0, 1))
    assert not loaded.training


def test_a_whole_vgg_is_cut_to_its_decoder(encoder, pair, images, tmp_path):
    whole = encoder()
    torch.save(whole.state_dict(), tmp_path / "vgg.pth")
    torch.save(pair[1].state_dict(), tmp_path / "decoder.pth")
    loaded = load_adain(encoder=tmp_path / "vgg.pth", decoder=tmp_path / "decoder.pth")
    content = images(1, h=32, w=32)
    with torch.no_grad():
        assert torch.equal(loaded.encoder(content), whole[: len(pair[0])](content))


def test_a_mirrored_decoder_gives_the_size_of_the_image_again(pair, images):
    decoder = mirrored(pair[0])
    assert [m.weight.shape for m in decoder if isinstance(m, nn.Conv2d)] == [m.weight.shape for m in pair[1] if isinstance(m, nn.Conv2d)]
    assert decoder(pair[0](images(1, h=32, w=40))).shape == (1, 3, 32, 40)


def test_a_decoder_that_doubles_more_often_than_its_encoder_halves_is_refused(small_pair, decoder, tmp_path):
    torch.save(small_pair[0].state_dict(), tmp_path / "encoder.pth")
    torch.save(decoder([64, 64, "U", 64, "U", 3]).state_dict(), tmp_path / "decoder.pth")
    with pytest.raises(ValueError, match="halved 1 times.* doubled 2 times.* do not fit together"):
        load_adain(encoder=tmp_path / "encoder.pth", decoder=tmp_path / "decoder.pth")


def test_wrong_files_are_refused_in_a_sentence(small_pair, pair, tmp_path):
    encoder, decoder, other = tmp_path / "encoder.pth", tmp_path / "decoder.pth", tmp_path / "other"
    torch.save(small_pair[0].state_dict(), encoder)
    torch.save(small_pair[1].state_dict(), decoder)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_adain(encoder=tmp_path / "missing.pth", decoder=decoder)
    with pytest.raises(ValueError, match="do not fit together|published layout"):
        load_adain(encoder=decoder, decoder=encoder)
    torch.save(build("small-w4", num_classes=2).state_dict(), other)
    with pytest.raises(ValueError, match="holds no encoder in the published layout"):
        load_adain(encoder=other, decoder=decoder)
    torch.save(pair[1].state_dict(), other)
    with pytest.raises(ValueError, match="do not fit together"):
        load_adain(encoder=encoder, decoder=other)
    torch.save(small_pair[0], other)  # a pickled module, which could run code
    with pytest.raises(ValueError, match="holds no weights"):
        load_adain(encoder=other, decoder=decoder)
    other.write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="holds no weights"):
        load_adain(encoder=other, decoder=decoder)
    (tmp_path / "damaged.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(ValueError, match="holds no weights"):
        load_adain(encoder=tmp_path / "damaged.safetensors", decoder=decoder)
    with pytest.raises(ValueError, match="needs encoder=PATH and decoder=PATH"):
        load_adain(encoder)
