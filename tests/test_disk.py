"""What is written is complete or not there: under kills, a full disk, a read-only folder, and several writers at once."""

import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from atviz import disk

# A process that makes the same call again and again in children of its own. Each child is killed at one more of its steps on files, until
# one comes to its end. After every death `check` looks at what is left.
KILLER = """
import os, signal, sys
from pathlib import Path
place = Path(sys.argv[1])
STEPS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}

def counting(last):
    seen = 0
    def hook(event, given):
        nonlocal seen
        if event in STEPS and any(str(place) in str(value) for value in given if isinstance(value, (str, bytes, os.PathLike))):
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
    return hook

def killed_everywhere(act, check):
    for last in range(1, 200):
        child = os.fork()
        if child == 0:
            sys.addaudithook(counting(last))
            act(last)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        check(last)
        if status == 0:
            return last - 1
        assert os.WIFSIGNALED(status), status
    raise AssertionError("it has no end")
"""


def after_kills(place: Path, code: str) -> int:
    """How many kills the code went through; it calls ``killed_everywhere(act, check)`` and prints the result."""
    done = subprocess.run([sys.executable, "-c", KILLER + textwrap.dedent(code), str(place)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_file_survives_a_kill_at_every_step(tmp_path):
    kills = after_kills(
        tmp_path,
        """
        from atviz import disk
        path = place / "record.json"
        disk.write_json(path, [0] * 1000)
        held = {0}
        def check(last):
            found = disk.read_json(path)
            assert len(found) == 1000 and found[0] in (0, last) and len(set(found)) == 1
        print(killed_everywhere(lambda last: disk.write_json(path, [last] * 1000), lambda last: (check(last), disk.write_json(path, [0] * 1000))))
        """,
    )
    assert kills >= 3


def test_a_checkpoint_survives_a_kill_at_every_step(tmp_path):
    kills = after_kills(
        tmp_path,
        """
        import torch
        from atviz.models import checkpoints
        folder = place / "normal"
        card = {"model": {}, "recipe": {}}
        old = checkpoints.save(folder, {"t": torch.zeros(5)}, card)
        def check(last):
            state, found = checkpoints.read(folder)
            assert float(state["t"][0]) in (0.0, float(last)) and found["sha256"]
            checkpoints.save(folder, {"t": torch.zeros(5)}, card)
        print(killed_everywhere(lambda last: checkpoints.save(folder, {"t": torch.full((5,), float(last))}, card), check))
        """,
    )
    assert kills >= 8
    (left,) = [path for path in tmp_path.iterdir() if not disk.BESIDE.fullmatch(path.name)]
    assert left.name == "normal"


def test_a_kept_epoch_survives_a_kill_at_every_step(tmp_path):
    kills = after_kills(
        tmp_path,
        """
        import torch
        from atviz.training import resume
        path, net = place / "run.training", torch.nn.Linear(2, 2)
        def done(epoch):
            return {"epoch": epoch, "history": [], "collapsed_at": None, "stopped_at": None}
        def keep(epoch):
            resume.keep(path, {"model": net.state_dict()}, done(epoch), {"seed": 0})
        keep(0)
        def check(last):
            found = resume.restore(path, {"model": net}, {"seed": 0}, torch.device("cpu"))
            assert found["epoch"] in (0, last)
            resume.forget(path)
            keep(0)
        print(killed_everywhere(keep, check))
        """,
    )
    assert kills >= 4


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """The limit on the size of a file gives the same error of the system as a full disk does, in the middle of a file."""
    code = """
    import resource, signal
    from atviz import disk
    path = place / "page.html"
    disk.write(path, "old")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        disk.write(path, "n" * 100_000)
    except OSError as error:
        print(error.errno)
    assert path.read_text() == "old" and len(list(place.iterdir())) == 1
    """
    assert after_kills(tmp_path, code) > 0


def test_a_folder_that_cannot_be_written_to_keeps_what_it_has(tmp_path):
    """Root may write everywhere, so that another user tries."""
    path = tmp_path / "record.json"
    disk.write_json(path, "old")
    tmp_path.chmod(0o555)
    code = """
    import os
    from atviz import disk
    if os.geteuid() == 0:
        os.seteuid(65534)
    path = place / "record.json"
    try:
        disk.write_json(path, "new")
    except OSError as error:
        print(error.errno)
    """
    try:
        for part in [tmp_path, *tmp_path.parents[:2]]:
            part.chmod(part.stat().st_mode | 0o055)
        assert after_kills(tmp_path, code) > 0
    finally:
        tmp_path.chmod(0o755)
    assert disk.read_json(path) == "old" and len(list(tmp_path.iterdir())) == 1


def test_an_error_in_between_leaves_nothing(tmp_path):
    disk.write(tmp_path / "a", "old")
    with pytest.raises(KeyError), disk.replacing(tmp_path / "a") as partial:
        partial.write_text("new")
        raise KeyError
    (tmp_path / "folder").mkdir()
    with pytest.raises(KeyError), disk.replacing_folder(tmp_path / "folder") as partial:
        (partial / "b").write_text("new")
        raise KeyError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "folder"]
    assert (tmp_path / "a").read_text() == "old" and not list((tmp_path / "folder").iterdir())


def test_many_writers_leave_one_whole_folder(tmp_path):
    failed = []

    def write(number):
        try:
            for _ in range(20):
                with disk.replacing_folder(tmp_path / "f") as partial:
                    for name in "ab":
                        (partial / name).write_text(str(number))
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len({(disk.settled(tmp_path / "f") / name).read_text() for name in "ab"}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000])
def test_what_is_no_json_is_said_in_one_sentence(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(ValueError, match="f is no JSON") as found:
        disk.read_json(tmp_path / "f")
    assert "\n" not in str(found.value) and len(str(found.value)) < 300


def test_a_misfit_is_named_with_its_place(tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": "object", "properties": {"a": {"items": {"type": "integer"}}}}))
    assert disk.misfit({"a": [1, 2]}, schema) == ""
    assert disk.misfit({"a": [1, "2"]}, schema) == "a.1: '2' is not of type 'integer'"


def test_only_one_process_has_a_place(tmp_path):
    code = "import sys, pathlib\nfrom atviz import disk\nwith disk.alone(pathlib.Path(sys.argv[1])): print('has it', flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "has it\n"
    with pytest.raises(OSError, match=f"run is in use by process {other.pid} on "), disk.alone(tmp_path / "run"):
        pass
    said = []

    def wait(text):
        said.append(text)
        other.communicate("")  # the other one ends while this one waits

    with disk.alone(tmp_path / "run", wait=wait):
        assert said == [f"run is in use by process {other.pid} on {os.uname().nodename}; waiting for it"]
    with disk.alone(tmp_path / "run"):
        pass
