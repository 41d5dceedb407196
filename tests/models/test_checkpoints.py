"""Checkpoints: what is saved is read to the bit, what is damaged is refused, and nothing is unpickled."""

import hashlib
import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file

from atviz import models
from atviz.models import checkpoints

CARD = {
    "model": {"arch": "small-w4", "num_classes": 3},
    "recipe": {"name": "normal", "eps": 8 / 255, "milestones": [3, 5]},
    "seed": 0,
    "note": "ε ≤ 8/255",
}


@pytest.fixture
def model():
    return models.build("small-w4", num_classes=3, mean=[0.1, 0.2, 0.3], std=[1 / 3, 1.0, 2.0])


@pytest.fixture
def saved(tmp_path, model):
    checkpoints.save(tmp_path / "models" / "normal", model.state_dict(), CARD)
    return tmp_path / "models" / "normal"


def bits(tensor):
    return tensor.dtype, tuple(tensor.shape), tensor.contiguous().flatten().view(torch.uint8).tolist()


def test_round_trip_is_bit_exact(saved, model):
    state, card = checkpoints.read(saved)
    assert {name: bits(t) for name, t in state.items()} == {name: bits(t) for name, t in model.state_dict().items()}
    other = models.build("small-w4", num_classes=3)
    other.load_state_dict(state)
    assert models.fingerprint(other) == models.fingerprint(model)
    assert {name: card[name] for name in CARD} == CARD


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([float("nan"), float("-inf"), -0.0, 1e-45]),
        torch.randn(3, 4).t(),
        torch.randn(2, 3, 5, 5).to(memory_format=torch.channels_last),
        torch.randn(8)[::2],
        torch.tensor(7),
        torch.randn(3).bfloat16(),
        torch.randn(2, requires_grad=True),
        torch.empty(0, 3),
    ],
    ids=["odd floats", "transposed", "channels last", "strided", "scalar", "bf16", "with gradient", "empty"],
)
def test_every_kind_of_tensor_survives(tmp_path, tensor):
    checkpoints.save(tmp_path / "c", {"t": tensor}, CARD)
    found = checkpoints.read(tmp_path / "c")[0]["t"]
    assert bits(found) == bits(tensor.detach())


def test_card_holds_the_sha256_of_the_weights(saved):
    card = json.loads((saved / "card.json").read_text())
    assert card["sha256"] == hashlib.sha256((saved / "weights.safetensors").read_bytes()).hexdigest()
    assert checkpoints.read_card(saved) == card


def test_folder_holds_weights_and_card_and_nothing_else(saved):
    assert sorted(p.name for p in saved.iterdir()) == ["card.json", "weights.safetensors"]
    assert [p.name for p in saved.parent.iterdir()] == ["normal"]
    assert load_file(saved / "weights.safetensors").keys() == models.build("small-w4", num_classes=3).state_dict().keys()


@pytest.mark.parametrize("place", [-1, 20, 5000])
def test_tampered_weights_are_refused(saved, place):
    path = saved / "weights.safetensors"
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="not what its card describes"):
        checkpoints.read(saved)


def test_truncated_weights_are_refused(saved):
    path = saved / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not what its card describes"):
        checkpoints.read(saved)


def test_half_written_folder_is_no_checkpoint(tmp_path, model, monkeypatch):
    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    folder = tmp_path / "normal"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints.disk, "write_json", stopped)  # the weights are there, the card is not
        checkpoints.save(folder, model.state_dict(), CARD)
    assert list(tmp_path.iterdir()) == [] and not checkpoints.exists(folder)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        checkpoints.read(folder)


def test_a_checkpoint_that_was_moved_aside_comes_back(saved):
    saved.rename(checkpoints.disk.beside(saved, "old"))  # as a kill between the two renames leaves it
    assert checkpoints.exists(saved) and checkpoints.read(saved)[1]["seed"] == 0
    assert [path.name for path in saved.parent.iterdir()] == ["normal"]


def test_failed_save_keeps_the_earlier_checkpoint(saved, model):
    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    with pytest.raises(TypeError):
        checkpoints.save(saved, {"t": torch.zeros(1)}, CARD | {"oops": object()})
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before
    checkpoints.read(saved)


def test_second_save_replaces_the_first(saved):
    card = checkpoints.save(saved, {"t": torch.ones(2)}, CARD | {"seed": 1})
    state, read = checkpoints.read(saved)
    assert state.keys() == {"t"} and read == card and card["seed"] == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "no JSON"),
        ("[]", "is not a checkpoint's card"),
        ('"card"', "is not a checkpoint's card"),
        ('{"model": {}, "recipe": {}}', "is not a checkpoint's card"),
        ('{"model": {}, "recipe": {}, "sha256": 1}', "card"),
        ('{"model": {}, "recipe": {}, "sha256": null}', "card"),
    ],
)
def test_strange_card_is_refused_with_a_sentence(saved, text, sentence):
    (saved / "card.json").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        checkpoints.read(saved)


def test_missing_parts_are_named(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint in .*nowhere"):
        checkpoints.read(tmp_path / "nowhere")
    (saved / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no weights.safetensors"):
        checkpoints.read(saved)


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return shutil.copyfile, (__file__, str(self.mark))


def test_nothing_is_unpickled(saved, tmp_path):
    mark = tmp_path / "went off"
    raw = pickle.dumps(Bomb(mark))
    (saved / "weights.safetensors").write_bytes(raw)
    card = json.loads((saved / "card.json").read_text()) | {"sha256": hashlib.sha256(raw).hexdigest()}
    (saved / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="holds no weights"):
        checkpoints.read(saved)
    assert not mark.exists()
    pickle.loads(raw)  # the pickle does run code when it is loaded without care
    assert mark.exists()
