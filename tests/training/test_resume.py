"""The file of an interrupted training: damage is noticed, told in one sentence, and costs one epoch at most."""

import pickle
import shutil
import warnings

import pytest
import torch
from torch import nn

from atviz.training import resume

CPU, OF = torch.device("cpu"), {"recipe": {"name": "normal"}, "seed": 0}


class Parts:
    """A network, its optimizer and its schedule after some epochs, of which each adds 1 to the weights."""

    def __init__(self, epoch=0):
        self.net = nn.Linear(2, 2)
        nn.init.constant_(self.net.weight, float(epoch))
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.ConstantLR(self.optimizer)

    @property
    def parts(self):
        return {"model": self.net, "optimizer": self.optimizer, "schedule": self.schedule}

    def keep(self, path, epoch, of=OF):
        nn.init.constant_(self.net.weight, float(epoch))
        state = {name: part.state_dict() for name, part in self.parts.items()}
        resume.keep(path, state, {"epoch": epoch, "history": [], "collapsed_at": None, "stopped_at": None}, of)

    def restored(self, path):
        done = resume.restore(path, self.parts, OF, CPU)
        return (done and done["epoch"], float(self.net.weight[0, 0].detach()))


@pytest.fixture
def kept(tmp_path):
    for epoch in (1, 2, 3):
        Parts().keep(tmp_path / "run.training", epoch)
    return tmp_path / "run.training"


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return shutil.copyfile, (__file__, str(self.mark))


def test_the_last_epoch_is_restored_and_the_one_before_is_kept(kept):
    assert Parts().restored(kept) == (3, 3.0)
    kept.unlink()
    assert Parts().restored(kept) == (2, 2.0)
    resume.forget(kept)
    assert not list(kept.parent.iterdir())
    assert Parts(9).restored(kept) == (None, 9.0)


def damages(raw):
    yield from (raw[:length] for length in (0, 10, 40, len(raw) // 2, len(raw) - 1))
    yield from (b"<html>404</html>", b"\0" * len(raw), raw + b"x", pickle.dumps({"state": 1}))
    for bit in range(0, 8 * len(raw), 997):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def test_damage_of_any_kind_costs_one_epoch_and_is_told(kept):
    raw = kept.read_bytes()
    for damaged in damages(raw):
        kept.write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"run.training cannot be used \(.+\); the training goes on from the epoch before it") as told:
            assert Parts().restored(kept) == (2, 2.0)
        assert "\n" not in str(told[0].message) and len(told) == 1


def test_without_a_good_file_the_training_begins_again(kept):
    for file in (kept, resume.before(kept)):
        file.write_bytes(b"")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert Parts(7).restored(kept) == (None, 7.0)
    assert [str(warning.message).rpartition(" from ")[2] for warning in told] == ["the epoch before it", "the start"]


def test_a_pickle_with_a_right_checksum_runs_no_code(kept, tmp_path):
    import hashlib
    import io

    buffer, mark = io.BytesIO(), tmp_path / "went off"
    torch.save({"state": Bomb(mark), "done": {}, "of": OF}, buffer)
    content = buffer.getvalue()
    kept.write_bytes(resume.START + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    with pytest.warns(UserWarning, match="it holds shutil.copyfile, a Python object, which could run code"):
        assert Parts().restored(kept) == (2, 2.0)
    assert not mark.exists()


def test_a_file_of_another_training_is_not_taken(tmp_path):
    path = tmp_path / "run.training"
    Parts().keep(path, 1, of={"recipe": {"name": "normal"}, "seed": 1})
    with pytest.warns(UserWarning, match="of another training"):
        assert Parts(5).restored(path) == (None, 5.0)


def test_a_state_that_does_not_fit_leaves_all_parts_as_they_were(tmp_path):
    path, parts = tmp_path / "run.training", Parts(5)
    state = {"model": nn.Linear(2, 2).state_dict(), "optimizer": {"state": {}, "param_groups": []}, "schedule": {}}
    resume.keep(path, state, {"epoch": 1, "history": [], "collapsed_at": None, "stopped_at": None}, OF)
    with pytest.warns(UserWarning, match="cannot be used"):
        assert parts.restored(path) == (None, 5.0)


def test_a_whole_file_is_read_without_a_word(kept):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Parts().restored(kept)
