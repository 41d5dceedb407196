"""`atviz run`: what it does once, and what it leaves behind when something goes wrong."""

import importlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import nbformat
import pytest

from atviz import disk
from atviz.app import engines, pipeline
from atviz.notebook import Settings
from atviz.training import Trainer

ATVIZ = [sys.executable, "-c", "from atviz.app.cli import app; app()"]
# a shell lets what it runs in the background ignore Ctrl-C, and so do their children
HEEDS = [sys.executable, "-c", "import signal; signal.signal(2, signal.default_int_handler); from atviz.app.cli import app; app()"]
TINY = ["--profile", "smoke", "--train-limit", "200", "--test-limit", "60"]


def atviz(*args, home, **kwargs):
    return subprocess.run(
        [*ATVIZ, *args], capture_output=True, text=True, timeout=300, env={**os.environ, "ATVIZ_HOME": str(home)}, **kwargs
    )


def test_notebooks_are_chosen_by_number_or_word_in_reading_order():
    assert [path.stem for path in pipeline.choose(["saturate", "02"])] == ["02_saliency", "04_saturate"]
    assert pipeline.choose([]) == pipeline.notebooks()
    with pytest.raises(ValueError, match="unknown notebook 'qqq'; known are 00_controls, "):
        pipeline.choose(["qqq"])


def test_parameters_of_every_notebook_are_typed_literals():
    assert len(pipeline.notebooks()) >= 5
    for path in pipeline.notebooks():
        found = pipeline.parameters(path)
        # the controls have images and networks of their own
        wanted = {"profile", "models", "out"} if path.stem == "00_controls" else pipeline.SHARED - {"styles", "adain", "alpha"}
        # 10 compares kinds of training, and its networks have the classes of their images
        wanted = wanted - {"baseline", "subject", "classes"} if path.stem == "10_ensemble_transfer" else wanted
        assert wanted <= found.keys(), path.name
        pipeline.check_parameters({name: value for name, value in found.items() if name not in pipeline.SHARED}, [path])


def test_parameters_of_a_notebook_are_the_defaults_of_the_settings():
    for path in pipeline.notebooks():
        found = {name: value for name, value in pipeline.parameters(path).items() if name in pipeline.SHARED - {"out"}}
        profile = found.pop("profile")
        assert Settings.of(found) == Settings(), path.name
        assert profile == ("zoo" if path.stem == "11_explore" else "quick")


def test_a_whole_number_stands_for_a_float_and_true_for_no_number():
    path = pipeline.choose(["saturate"])
    pipeline.check_parameters({"levels": [2, 4.0]}, path)
    with pytest.raises(ValueError, match="must be an int"):
        pipeline.check_parameters({"images": True}, path)


def test_a_notebook_without_one_cell_of_literals_is_refused(tmp_path, write_notebook):
    path = write_notebook(tmp_path, "91_x", "1")
    assert pipeline.parameters(path) == {"dataset": "fashion", "profile": "quick", "models": [], "out": "", "extra": 1}
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = "images = 3\nprint(images)"
    nbformat.write(notebook, path)
    with pytest.raises(ValueError, match=re.escape("91_x.ipynb: 'print(images)' is not a parameter; write name = literal")):
        pipeline.parameters(path)
    notebook.cells[0].metadata["tags"] = []
    nbformat.write(notebook, path)
    with pytest.raises(ValueError, match="has 0 cells tagged parameters; it must have one"):
        pipeline.parameters(path)


def test_a_run_is_named_by_what_was_chosen():
    plain = pipeline.default_name(Settings())
    assert plain == pipeline.default_name(Settings(models=("normal", "underfit", "pgd-inf-0.1"), subject="pgd-inf-0.1")) == "quick-fashion"
    others = [Settings(seed=1), Settings(alpha=0.5), Settings(epochs=3), Settings(models=("normal", "fgsm-0.1"))]
    assert len({pipeline.default_name(other) for other in others}) == 4
    assert all(re.fullmatch(r"quick-fashion-[0-9a-f]{6}", pipeline.default_name(other)) for other in others)
    given = [None, {}, {"extra": 7}, {"extra": 8}]
    assert [pipeline.default_name(Settings(), values) for values in given[:2]] == [plain, plain]
    assert len({pipeline.default_name(settings, values) for values in given[1:] for settings in (Settings(), Settings(seed=1))}) == 6
    assert re.fullmatch(r"quick-fashion-[0-9a-f]{6}", pipeline.default_name(Settings(), {"extra": 7}))


def test_folders_of_one_name_get_folders_of_their_own():
    assert pipeline.default_name(Settings(dataset="folder:cats")) == "quick-cats"
    names = {pipeline.default_name(Settings(dataset=f"folder:{path}")) for path in ("cats", "/some/where/cats", "/else/where/cats")}
    assert len(names) == 3
    assert all(re.fullmatch(r"quick-cats(-[0-9a-f]{6})?", name) for name in names)


def test_a_notebook_that_fails_leaves_its_partial_copy_and_a_red_page_and_the_others_run(tiny, tmp_path, write_notebook):
    bad = write_notebook(tmp_path / "nb", "91_bad", "raise RuntimeError('no such luck <b>')")
    good = write_notebook(tmp_path / "nb", "92_good", "print(extra + 1)")
    importlib.import_module("lightning_fabric")  # sets a variable of its own when it is first imported
    before = dict(os.environ)
    folder, fine = pipeline.run(tiny, chosen=[bad, good], name="r")
    assert dict(os.environ) == before
    assert not fine
    partial = nbformat.read(folder / "notebooks" / "91_bad.ipynb", as_version=4)
    assert any("before" in str(cell.get("outputs")) for cell in partial.cells)
    assert any("no such luck" in str(cell.get("outputs")) for cell in partial.cells)
    page = (folder / "index.html").read_text()
    alert = re.search(r'<div class="failed" role="alert">91_bad: failed\. (.*?)</div>', page)
    assert alert
    assert "no such luck &lt;b&gt;" in alert[1]
    assert "92_good: failed" not in page
    assert "These parts failed: 91_bad." in page

    # mended, only the failed one runs again
    write_notebook(tmp_path / "nb", "91_bad", "print('mended')")
    before = (folder / "notebooks" / "92_good.ipynb").stat().st_mtime_ns
    folder, fine = pipeline.run(tiny, chosen=[bad, good], name="r")
    assert fine
    assert (folder / "notebooks" / "92_good.ipynb").stat().st_mtime_ns == before
    assert 'role="alert"' not in (folder / "index.html").read_text()


def test_a_notebook_gets_the_settings_as_it_writes_them(tiny, tmp_path, write_notebook):
    seen = write_notebook(tmp_path / "nb", "91_seen", "print([dataset, profile, models, extra])")
    folder, fine = pipeline.run(tiny, chosen=[seen], given={"extra": 7}, name="r")
    assert fine
    cells = nbformat.read(folder / "notebooks" / "91_seen.ipynb", as_version=4).cells
    assert cells[-1].outputs[0].text == "['fashion', 'smoke', ['normal', 'fgsm-0.1'], 7]\n"
    run = json.loads((folder / "run.json").read_text())
    assert (run["settings"], run["set"]) == (tiny.described, {"extra": 7})
    assert (run["order"], run["stages"]["91_seen"]["status"]) == (["91_seen"], "done")


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Settings of two networks that atviz did not train: one without convolutions, and one that answers with more classes than there are."""
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def flat():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
        "def conv():\n    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(1352, 10))\n"
    )
    flat, conv = (f"python:{tmp_path / 'net.py'}:{name}" for name in ("flat", "conv"))
    return Settings(models=(f"a={flat}", f"b={conv}"), test_limit=40, profile="smoke")


def test_networks_from_outside_train_nothing_and_notebooks_that_do_not_apply_are_left_out(outside, tmp_path, write_notebook):
    seen = write_notebook(tmp_path / "nb", "91_seen", "print(models)")
    layers, transfer = (write_notebook(tmp_path / "nb", name, "1 / 0") for name in ("08_layers", "10_ensemble_transfer"))
    flat = replace(outside, models=outside.models[:1])
    folder, fine = pipeline.run(flat, chosen=[seen, layers, transfer], name="r")
    run = json.loads((folder / "run.json").read_text())
    assert fine and {name: stage["status"] for name, stage in run["stages"].items()} == {
        "train": "done", "91_seen": "done", "08_layers": "left out", "10_ensemble_transfer": "left out",
    }  # fmt: skip
    assert run["notes"] == ["a: its 10 classes are taken for the images' own, in their order"]
    page = (folder / "index.html").read_text()
    assert "Left out: a has no convolution whose windows overlap" in page and 'role="alert"' not in page
    assert "its 10 classes are taken for the images&#39; own" in page and "What do these networks look at?" not in page
    assert not (tmp_path / "checkpoints").exists()


def test_08_is_for_those_that_have_convolutions(outside):
    networks = Trainer(outside).networks
    assert pipeline.left_out("08_layers", outside, networks) == ""
    assert pipeline.left_out("10_ensemble_transfer", outside, networks).startswith("This notebook fine-tunes networks that atviz trains")
    assert pipeline.left_out("04_saturate", outside, networks) == ""


def test_other_code_of_ones_own_is_another_network(outside, tmp_path, write_notebook):
    seen = write_notebook(tmp_path / "nb", "91_seen", "print(models)")
    folder, _ = pipeline.run(outside, chosen=[seen], name="r")
    key = lambda: json.loads((folder / "run.json").read_text())["stages"]["91_seen"]["key"]
    first = key()
    (tmp_path / "net.py").write_text((tmp_path / "net.py").read_text() + "# another\n")
    pipeline.run(replace(outside), chosen=[seen], name="r")
    assert key() != first


def test_notebooks_run_one_by_one_stay_on_one_page(tiny, tmp_path, write_notebook):
    first, second = (write_notebook(tmp_path / "nb", name, "print(extra)") for name in ("91_first", "92_second"))
    for chosen in ([first], [second]):
        folder, fine = pipeline.run(tiny, chosen=chosen, name="r")
        assert fine
    page = (folder / "index.html").read_text()
    assert 'id="91_first"' in page
    assert 'id="92_second"' in page


@pytest.fixture
def held(tiny, tmp_path, write_notebook):
    """A folder ``results/r`` as a run of ``tiny`` with extra = 7 leaves it, and its notebook."""
    record = {"settings": tiny.described, "set": {"extra": 7}, "version": "0", "order": ["91_x"], "stages": {}}
    (tmp_path / "results" / "r").mkdir(parents=True)
    (tmp_path / "results" / "r" / "run.json").write_text(json.dumps(record))
    return tmp_path / "results" / "r" / "run.json", write_notebook(tmp_path / "nb", "91_x", "1")


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        ({"seed": 1}, {"extra": 7}, "seed 0, here 1"),
        ({"profile": "quick", "seed": 1}, {"extra": 7}, "profile 'smoke', here 'quick'"),  # the first that differs
        ({"models": ("normal", "fgsm-0.05")}, {"extra": 7}, "models ['normal', 'fgsm-0.1'], here ['normal', 'fgsm-0.05']"),
        ({}, {"extra": 8}, "extra 7, here 8"),
        ({}, {}, "extra 7, here not set"),
    ],
)
def test_a_run_of_other_settings_is_not_overwritten(held, tiny, changes, given, message, monkeypatch):
    path, notebook = held
    before = path.read_text()
    monkeypatch.setattr(engines, "run", lambda *_, **__: pytest.fail("trained before it was refused"))
    expected = f"results/r holds a run of other settings ({message}); choose another --name, or delete it"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        pipeline.run(replace(tiny, **changes), chosen=[notebook], given=given, name="r")
    assert path.read_text() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["run.json"]


def test_a_run_from_before_set_values_were_kept_can_be_gone_on_with(held, tiny):
    path, notebook = held
    record = json.loads(path.read_text())
    del record["set"]
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="extra not set, here 7"):
        pipeline.run(tiny, chosen=[notebook], given={"extra": 7}, name="r")
    _, fine = pipeline.run(tiny, chosen=[notebook], name="r")
    assert fine
    assert json.loads(path.read_text())["set"] == {}


def test_a_run_keeps_the_time_of_the_work_beside_that_of_reading_it_again(tiny, tmp_path, write_notebook):
    first, second = (write_notebook(tmp_path / "nb", name, "print(extra)") for name in ("91_first", "92_second"))

    def times(*chosen):
        folder, fine = pipeline.run(tiny, chosen=chosen, name="r")
        assert fine
        run = json.loads((folder / "run.json").read_text())
        found = {name: (stage["seconds"], stage.get("cached_seconds")) for name, stage in run["stages"].items()}
        return found | {"run": (run["seconds"], run.get("cached_seconds"))}

    worked = times(first)
    assert worked.keys() == {"train", "91_first", "run"}
    assert all(cached is None for _, cached in worked.values())
    again = times(first)
    for name, (seconds, _) in worked.items():
        assert again[name][0] == seconds, name
        assert 0 < again[name][1] < seconds, name
    more = times(first, second)  # one of two is done
    assert (more["train"][0], more["91_first"][0]) == (worked["train"][0], worked["91_first"][0])
    assert more["92_second"][1] is None
    assert more["run"][0] > more["92_second"][0] and more["run"][1] is None
    write_notebook(tmp_path / "nb", "91_first", "print('mended')")
    mended = times(first)
    assert mended["91_first"][1] is None and mended["91_first"][0] != worked["91_first"][0]
    assert mended["train"][0] == worked["train"][0] > mended["train"][1]


def test_a_training_that_diverges_is_told_on_the_page(untrained, tmp_path, monkeypatch, write_notebook, jobs):
    monkeypatch.setattr(pipeline, "train", jobs.train_or_diverge)
    folder, fine = pipeline.run(untrained, chosen=[write_notebook(tmp_path / "nb", "91_x", "1")], name="r")
    assert not fine
    assert "the loss of fgsm-0.1 became nan in epoch 1" in (folder / "index.html").read_text()
    assert not (folder / "notebooks").exists()
    (kept,) = tmp_path.glob("checkpoints/local/*")
    assert "-normal-" in kept.name  # the other went on


def test_networks_are_trained_side_by_side_and_underfit_after_the_subject(untrained, tmp_path):
    settings = replace(untrained, models=("normal", "underfit", "fgsm-0.1", "pgd-inf-0.1"))
    trainer = Trainer(settings)
    tasks = {task.name: task for task in pipeline.trainings(settings, trainer)}
    assert {name: task.needs for name, task in tasks.items()} == {
        "normal": (), "fgsm-0.1": (), "pgd-inf-0.1": (), "underfit": ("fgsm-0.1",),
    }  # fmt: skip
    assert not tmp_path.joinpath("checkpoints").exists()  # to ask trains nothing
    trainer.obtain("fgsm-0.1")
    assert {task.name: task.needs for task in pipeline.trainings(settings, trainer)} == {"normal": (), "pgd-inf-0.1": (), "underfit": ()}
    trainer.obtain("underfit")
    assert [task.name for task in pipeline.trainings(settings, trainer)] == ["normal", "pgd-inf-0.1"]
    # what other processes are given holds no images
    assert settings.images.train and len(pickle.dumps(tasks["normal"].arguments)) < 2000


def test_notebooks_run_side_by_side(tiny, tmp_path, write_notebook):
    wait = "import pathlib, time\nhere = pathlib.Path({folder!r})\n(here / {name!r}).touch()\n"
    wait += "deadline = time.monotonic() + 60\nwhile len(list(here.iterdir())) < 2 and time.monotonic() < deadline:\n    time.sleep(0.02)\n"
    wait += "assert len(list(here.iterdir())) == 2"
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    names = ("91_first", "92_second")
    chosen = [write_notebook(tmp_path / "nb", name, wait.format(folder=str(meeting), name=name)) for name in names]
    folder, fine = pipeline.run(tiny, chosen=chosen, name="r", workers=2)
    assert fine
    assert json.loads((folder / "run.json").read_text())["order"] == list(names)


def test_killed_in_the_middle_of_training_it_goes_on_from_the_last_epoch(tmp_path):
    args = ["run", *TINY, "--epochs", "30", "--models", "normal,fgsm-0.1", "--notebooks", "05"]
    process = subprocess.Popen(
        [*ATVIZ, *args], env={**os.environ, "ATVIZ_HOME": str(tmp_path)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (kept := list(tmp_path.glob("checkpoints/local/*normal*.training"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert kept, "no epoch was finished in two minutes"
    import torch

    from atviz.training import resume

    done = resume._read(kept[0], torch.device("cpu"))["done"]
    assert 0 < done["epoch"] < 30, "killed too late to show anything"
    finished = atviz(*args, home=tmp_path)
    assert finished.returncode == 0, finished.stderr
    card = next(json.loads(p.read_text()) for p in tmp_path.glob("checkpoints/local/*normal*/card.json"))
    # the epochs before the kill were not trained again: their clock times are those that were kept
    assert [row["seconds"] for row in card["history"][: done["epoch"]]] == [row["seconds"] for row in done["history"]]
    assert not list(tmp_path.glob("checkpoints/local/*.training"))


def test_the_same_run_again_executes_nothing(smoke_run, smoke_home):
    before = {path: path.stat().st_mtime_ns for path in smoke_run.rglob("*.*") if path.suffix in (".ipynb", ".png", ".csv")}
    done = atviz("run", "--profile", "smoke", "--name", "smoke", home=smoke_home)
    assert done.returncode == 0
    assert done.stdout.count("unchanged") == len(pipeline.notebooks())
    assert {path: path.stat().st_mtime_ns for path in before} == before


KILLED = """
import sys
from pathlib import Path
from atviz.app import pipeline
from atviz.notebook import Settings
settings = Settings(profile="smoke", train_limit=200, test_limit=60, models=("normal", "fgsm-0.1"))
pipeline.run(settings, chosen=[Path(p) for p in sys.argv[1:]], name="r", workers=1)
"""


def test_sliders_are_made_at_the_end_once_and_a_failure_is_told(tiny, tmp_path, write_notebook):
    folder, book = tmp_path / "results" / "r", write_notebook(tmp_path / "nb", "04_saturate", "1")
    folder.mkdir(parents=True)
    (folder / "sliders").write_text("a file where a folder should be")
    assert pipeline.run(tiny, chosen=[book], name="r") == (folder, False)
    stages = json.loads((folder / "run.json").read_text())["stages"]
    assert (stages["04_saturate"]["status"], stages["sliders"]["status"]) == ("done", "failed")
    assert 'role="alert">The sliders could not be made: ' in (folder / "index.html").read_text()
    (folder / "sliders").unlink()
    assert pipeline.run(tiny, chosen=[book], name="r") == (folder, True)
    assert 'id="explorer"' in (folder / "index.html").read_text()
    record, made = json.loads((folder / "run.json").read_text()), (folder / "sliders" / "sliders.json").stat().st_mtime_ns
    assert record["stages"]["sliders"]["status"] == "done" and record["command"].endswith("--notebooks 04_saturate --name r")
    assert pipeline.run(tiny, chosen=[book], name="r") == (folder, True)
    assert (folder / "sliders" / "sliders.json").stat().st_mtime_ns == made


def test_killed_between_stages_it_goes_on_with_the_one_that_was_not_finished(tiny, tmp_path, write_notebook):
    first = write_notebook(tmp_path / "nb", "91_first", "print('first')")
    flag = tmp_path / "flag"
    once = "\n".join(
        [
            "import psutil, pathlib",
            f"flag = pathlib.Path({str(flag)!r})",
            "if not flag.exists():",
            "    flag.touch()",
            "    psutil.Process().parent().parent().kill()",  # not the process that holds this kernel, but the whole run
        ]
    )
    second = write_notebook(tmp_path / "nb", "92_second", once)
    command = [sys.executable, "-c", KILLED, str(first), str(second)]
    environment = {**os.environ, "ATVIZ_HOME": str(tmp_path)}
    assert subprocess.run(command, env=environment, capture_output=True, timeout=300).returncode == -signal.SIGKILL
    folder = tmp_path / "results" / "r"
    stages = json.loads((folder / "run.json").read_text())["stages"]
    assert (stages["91_first"]["status"], stages["92_second"]["status"]) == ("done", "interrupted")
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "91_first: unchanged" in again.stdout
    assert "92_second: unchanged" not in again.stdout
    assert json.loads((folder / "run.json").read_text())["stages"]["92_second"]["status"] == "done"


def test_outputs_are_of_the_code_and_not_of_the_prose():
    (path,) = pipeline.choose(["05"])
    notebook, other = (nbformat.read(path, as_version=4) for _ in range(2))
    other.cells[0].source += " More prose."
    assert pipeline.source_digest(other) == pipeline.source_digest(notebook)
    other.cells[1].source += "\nmore = 1"
    assert pipeline.source_digest(other) != pipeline.source_digest(notebook)


def test_a_second_run_in_the_same_folder_says_who_holds_it(tiny, tmp_path, write_notebook):
    chosen = [write_notebook(tmp_path / "nb", "91_first", "print(1)")]
    with (
        disk.alone(tmp_path / "results" / "r"),
        pytest.raises(OSError, match=rf"^r is in use by process {os.getpid()} on .*; wait for it, or end it$"),
    ):
        pipeline.run(tiny, chosen=chosen, name="r")
    assert pipeline.run(tiny, chosen=chosen, name="r")[1]


STUCK = {
    "import os; os._exit(1)": "its kernel died, as it does when memory does not suffice",
    "import time; time.sleep(100)": "a cell took more than 3 seconds; --timeout gives it more",
}


@pytest.mark.parametrize("code", STUCK)
def test_a_kernel_that_dies_and_a_cell_that_hangs_are_told_and_what_was_done_is_kept(tiny, tmp_path, write_notebook, code):
    chosen = [write_notebook(tmp_path / "nb", "91_first", code), write_notebook(tmp_path / "nb", "92_second", "print('fine')")]
    folder, good = pipeline.run(tiny, chosen=chosen, name="r", timeout=3)
    stages = json.loads((folder / "run.json").read_text())["stages"]
    assert not good and stages["91_first"]["error"] == STUCK[code] and stages["92_second"]["status"] == "done"
    kept = nbformat.read(folder / "notebooks" / "91_first.ipynb", as_version=4)
    assert any("before" in str(cell.get("outputs")) for cell in kept.cells)
    assert STUCK[code] in (folder / "index.html").read_text()


@pytest.mark.parametrize("command", [["train", "normal"], ["run", "--models", "normal,fgsm-0.1", "--notebooks", "05"]])
def test_ctrl_c_says_how_to_go_on_and_leaves_what_can_be_resumed(tmp_path, command):
    process = subprocess.Popen(
        [*HEEDS, *command, *TINY, "--epochs", "2000"], env={**os.environ, "ATVIZ_HOME": str(tmp_path)}, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("checkpoints/local/*.training")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert [line for line in said.splitlines() if line][
        -1
    ] == "atviz: stopped; what is done is kept, and the same command goes on with the rest"
    assert "Traceback" not in said
    assert list(tmp_path.glob("checkpoints/local/*.training"))
