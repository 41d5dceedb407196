import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atviz.distortions import patch_counts, patch_shuffle


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


def test_every_permutation_is_equally_likely(seeded):
    n = 24 * 200
    x = torch.arange(4.0).view(1, 1, 2, 2).expand(n, 1, 2, 2) / 4
    codes = (patch_shuffle(x, 2, generator=seeded()).flatten(1) * 4) @ torch.tensor([64.0, 16.0, 4.0, 1.0])
    counts = torch.unique(codes, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 200) ** 2 / 200).sum() < 49.7  # chi-squared, 23 degrees of freedom: exceeded once in a thousand


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
