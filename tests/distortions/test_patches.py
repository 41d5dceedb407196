import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atviz.distortions import patch_counts, patch_rotate, patch_shuffle


def patches(image, k):
    """The k × k patches of one (C, H, W) image, as bytes."""
    h, w = (side // k for side in image.shape[1:])
    return [image[:, i * h : (i + 1) * h, j * w : (j + 1) * w].contiguous().numpy().tobytes() for i in range(k) for j in range(k)]


@given(k=st.integers(1, 5), height=st.integers(1, 4), width=st.integers(1, 4), channels=st.integers(1, 3), seed=st.integers(0, 999))
def test_patches_are_permuted_and_intact(images, seeded, k, height, width, channels, seed):
    x = images(3, channels, k * height, k * width, seed)
    y = patch_shuffle(x, k, generator=seeded(seed))
    for before, after in zip(x, y, strict=True):
        assert sorted(patches(before, k)) == sorted(patches(after, k))


def test_k_of_one_is_the_identity(images, seeded):
    x = images(5, 3, 7, 11)
    assert torch.equal(patch_shuffle(x, 1, generator=seeded()), x)


def four(n):
    """n images of 2 × 2 pixels, which differ."""
    return torch.arange(4.0).view(1, 1, 2, 2).expand(n, 1, 2, 2) / 4


# chi-squared of 23 and 22 degrees of freedom: exceeded once in a thousand
@pytest.mark.parametrize(("allow_identity", "orders", "limit"), [(True, 24, 49.7), (False, 23, 48.3)])
def test_every_permutation_is_equally_likely(seeded, allow_identity, orders, limit):
    y = patch_shuffle(four(orders * 200), 2, generator=seeded(), allow_identity=allow_identity)
    counts = torch.unique(y.flatten(1), dim=0, return_counts=True)[1]
    assert len(counts) == orders
    assert ((counts - 200) ** 2 / 200).sum() < limit


def test_a_patch_moves_in_every_image_unless_the_identity_is_allowed(seeded):
    x = four(5000)
    still = [(patch_shuffle(x, 2, generator=seeded(), allow_identity=allow) == x).flatten(1).all(1) for allow in (False, True)]
    assert not still[0].any()
    assert abs(still[1].double().mean() - 1 / 24) < 4 * (23 / 24**2 / 5000) ** 0.5


def test_a_patch_moves_where_an_image_has_more_than_four(monkeypatch):
    x = torch.arange(9.0).view(1, 1, 3, 3).expand(23, 1, 3, 3) / 9
    drawn = torch.cat([torch.arange(9.0).expand(23, 9) / 9, torch.arange(0.5, 23)[:, None] / 23], 1)  # every image would stay
    monkeypatch.setattr("atviz.distortions.patches.uniform", lambda n, numbers, generator: drawn[:, :numbers])
    y = patch_shuffle(x, 3).flatten(1)
    assert len(y.unique(dim=0)) == 23 and not (y == x.flatten(1)).all(1).any()
    assert torch.equal(y[:, 4:], x.flatten(1)[:, 4:])


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("allow_identity", [True, False])
def test_each_image_takes_the_same_count_of_random_numbers(images, seeded, k, allow_identity):
    x, generator, numbers = images(200, 1, 6, 6), seeded(3), k * k + (not allow_identity)
    whole = patch_shuffle(x, k, generator=seeded(3), allow_identity=allow_identity)
    parts = [patch_shuffle(part, k, generator=generator, allow_identity=allow_identity) for part in x.split(7)]
    assert torch.equal(torch.cat(parts), whole)
    behind = seeded(3)
    torch.rand(200, numbers, generator=behind)
    assert torch.equal(torch.rand(5, generator=generator), torch.rand(5, generator=behind))


@pytest.mark.parametrize(
    ("size", "k", "right"),
    [
        ((28, 28), 3, [1, 2, 4, 7, 14, 28]),
        ((32, 32), 5, [1, 2, 4, 8, 16, 32]),
        ((12, 18), 4, [1, 2, 3, 6]),
        ((7, 5), 7, [1]),
        ((8, 8), 16, [1, 2, 4, 8]),
    ],
)
def test_k_that_does_not_divide_is_refused_with_those_that_do(images, size, k, right):
    x = images(2, 1, *size)
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} pixels cannot be cut into {k}x{k}") as error:
        patch_shuffle(x, k)
    assert str(error.value).endswith("k can be " + ", ".join(map(str, right)))
    for works in right:
        patch_shuffle(x, works)
    assert patch_counts(*size) == [works for works in right if 2 <= works <= 8]


def test_whole_number_as_float_is_a_count(images, seeded):
    x = images(2, 1, 8, 8)
    assert torch.equal(patch_shuffle(x, 4.0, generator=seeded()), patch_shuffle(x, 4, generator=seeded()))


# --- patches turned in their place


@given(k=st.integers(1, 4), side=st.integers(1, 5), channels=st.integers(1, 3), seed=st.integers(0, 999))
def test_each_patch_is_turned_in_its_place(images, seeded, k, side, channels, seed):
    x = images(3, channels, k * side, k * side, seed)
    y = patch_rotate(x, k, generator=seeded(seed))
    for before, after in zip(x, y, strict=True):
        for i in range(k):
            for j in range(k):
                here = np.s_[:, i * side : (i + 1) * side, j * side : (j + 1) * side]
                turned = [np.rot90(before[here].numpy(), turn, axes=(1, 2)) for turn in range(4)]
                assert any(np.array_equal(after[here].numpy(), one) for one in turned)


def test_every_turn_of_every_patch_is_equally_likely(seeded):
    x = torch.arange(16.0).view(1, 1, 4, 4).expand(3200, 1, 4, 4) / 16
    y = patch_rotate(x, 2, generator=seeded())
    outcomes, counts = torch.unique(y.flatten(1), dim=0, return_counts=True)
    assert len(outcomes) == 4**4
    assert ((counts - 12.5) ** 2 / 12.5).sum() < 330.5  # chi-squared of 255 degrees of freedom: exceeded once in a thousand


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_turn_takes_one_random_number_of_each_patch(images, seeded, k):
    x, generator = images(50, 1, 6, 6), seeded(3)
    parts = [patch_rotate(part, k, generator=generator) for part in x.split(7)]
    assert torch.equal(torch.cat(parts), patch_rotate(x, k, generator=seeded(3)))
    behind = seeded(3)
    torch.rand(50, k * k, generator=behind)
    assert torch.equal(torch.rand(5, generator=generator), torch.rand(5, generator=behind))


def test_patches_to_turn_are_square_and_fill_the_image(images):
    with pytest.raises(ValueError, match=r"images are 8x12 pixels; they must be square"):
        patch_rotate(images(1, 3, 8, 12), 4)
    with pytest.raises(ValueError, match=r"28x28 pixels cannot be cut into 3x3 patches; k can be 1, 2, 4, 7, 14, 28$"):
        patch_rotate(images(1), 3)
    assert torch.equal(patch_rotate(images(2), 28), images(2))
