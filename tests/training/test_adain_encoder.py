import pytest
import torch

from atviz.data import procedural
from atviz.distortions import mirrored
from atviz.training.adain_encoder import normalize, paint, small_encoder, train_encoder


def test_channels_are_scaled_to_a_mean_square_of_one_and_nothing_else_changes():
    encoder, x = small_encoder(), torch.rand(16, 3, 28, 28)
    decoder = mirrored(encoder)
    before = encoder(x)
    out = decoder(before)
    normalize(encoder, x, decoder)
    after = encoder(x)
    active = before.square().mean((0, 2, 3)).sqrt() > 0.1
    assert active.float().mean() > 0.5
    assert torch.allclose(after.square().mean((0, 2, 3))[active], torch.ones(int(active.sum())), atol=1e-3)
    assert torch.allclose(decoder(after), out, atol=1e-3)


def test_painted_images_keep_their_outline(fashion):
    x = fashion.x[:60].float() / 255
    painted, drawn = paint(x, procedural(50, size=28), torch.Generator().manual_seed(0))
    assert painted.shape == (60, 3, 28, 28)
    assert (drawn >= 0).float().mean() == pytest.approx(1 / 4, abs=0.15)
    as_it_was = (painted == x).flatten(1).all(1)
    assert as_it_was.float().mean() == pytest.approx(1 / 2, abs=0.2)
    assert (drawn[as_it_was] == -1).all()


def test_a_seed_fixes_the_training_and_leaves_the_global_random_numbers(fashion):
    before = torch.get_rng_state()
    (encoder, decoder, metrics), (again, _, _), (other, _, _) = (train_encoder(fashion, steps=2, batch=4, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), again.parameters(), strict=True))
    assert not torch.equal(encoder[2].weight, other[2].weight)
    assert set(metrics) == {"class_accuracy", "texture_accuracy", "reconstruction_mse"}
    assert decoder(encoder(torch.rand(1, 3, 28, 28))).shape == (1, 3, 28, 28)
