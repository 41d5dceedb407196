"""`atviz run`: what it refuses, what it does once, and what it leaves behind when something goes wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from typer.testing import CliRunner

from atviz import findings, pipeline
from atviz.cli import app
from atviz.report import fill_readme, write_report
from atviz.study import Settings

ATVIZ = [sys.executable, "-c", "from atviz.cli import app; app()"]
TINY = ["--profile", "smoke", "--train-limit", "200", "--test-limit", "60"]


def atviz(*args, home, **kwargs):
    return subprocess.run(
        [*ATVIZ, *args], capture_output=True, text=True, timeout=300, env={**os.environ, "ATVIZ_HOME": str(home)}, **kwargs
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--dataset", "fashon"], "unknown data set 'fashon'; did you mean 'fashion'?"),
        (["--profile", "quik"], "unknown profile 'quik'; did you mean 'quick'?"),
        (["--models", "normal,pgd-inf-08x"], "unknown recipe 'pgd-inf-08x'; did you mean 'pgd-inf-8'?"),
        (["--notebooks", "04_saturat"], "unknown notebook '04_saturat'; did you mean '04_saturate'?"),
        (["--set", "level=[2.0]", "--notebooks", "saturate"], "unknown parameter 'level'; did you mean 'levels'?"),
        (["--set", "levels=8/255"], "parameter levels is '8/255', a str; it must be a list of float"),
        (["--set", "radius=8/255"], "parameter radius is '8/255', a str; it must be a float"),
        (["--set", "levels=['a']"], "it must be a list of float"),
        (["--set", "images=2.5"], "parameter images is 2.5, a float; it must be a int"),
        (["--set", "seed=3"], "write --seed"),
        (["--set", "levels"], "write NAME=VALUE"),
        (["--name", "../x"], "without slashes"),
        (["--seeds", "3"], "No such option: --seeds (Possible options: --seed"),
        (["--seed", "x"], "Invalid value for '--seed'"),
        (["--dataset", "folder:nowhere"], "nowhere is not a folder"),
        (["--alpha", "2"], "alpha is 2.0; it must be in [0, 1]"),
        (["--styles", "nowhere"], "nowhere is not a folder; styles are 'procedural' or a folder of images"),
        (["--adain", "nowhere"], "there is no checkpoint in nowhere"),
    ],
)
def test_what_is_wrong_is_refused_in_a_sentence_before_anything_runs(args, message, tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["run", *args])
    assert done.exit_code == 2
    assert message in " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.output).split())
    assert isinstance(done.exception, SystemExit)  # no traceback
    assert not list(tmp_path.iterdir())


def test_parameters_of_every_notebook_are_typed_literals():
    assert len(pipeline.notebooks()) >= 5
    for path in pipeline.notebooks():
        found = pipeline.parameters(path)
        # the controls have images and networks of their own
        wanted = {"profile", "out"} if path.stem == "00_controls" else pipeline.SHARED - {"styles", "adain", "alpha"}
        assert wanted <= found.keys(), path.name
        pipeline.check_parameters({name: value for name, value in found.items() if name not in pipeline.SHARED}, [path])


def test_a_whole_number_stands_for_a_float_and_true_for_no_number():
    path = pipeline.choose(["saturate"])
    pipeline.check_parameters({"levels": [2, 4.0]}, path)
    with pytest.raises(ValueError, match="must be a int"):
        pipeline.check_parameters({"images": True}, path)


def write_notebook(folder: Path, name: str, code: str) -> Path:
    parameters = new_code_cell(
        "dataset = 'fashion'\nprofile = 'quick'\nmodels = []\nout = ''\nextra = 1", metadata={"tags": ["parameters"]}
    )
    folder.mkdir(parents=True, exist_ok=True)
    notebook = new_notebook(cells=[parameters, new_code_cell("print('before')"), new_code_cell(code)])
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    return Settings(profile="smoke", train_limit=200, test_limit=60, models=("normal", "fgsm-0.1"))


def test_a_notebook_that_fails_leaves_its_partial_copy_and_a_red_page_and_the_others_run(tiny, tmp_path):
    bad = write_notebook(tmp_path / "nb", "91_bad", "raise RuntimeError('no such luck <b>')")
    good = write_notebook(tmp_path / "nb", "92_good", "print(extra + 1)")
    folder, fine = pipeline.run(tiny, chosen=[bad, good], name="r")
    assert not fine
    partial = nbformat.read(folder / "notebooks" / "91_bad.ipynb", as_version=4)
    assert any("before" in str(cell.get("outputs")) for cell in partial.cells)
    assert any("no such luck" in str(cell.get("outputs")) for cell in partial.cells)
    page = (folder / "index.html").read_text()
    alert = re.search(r'<div class="failed" role="alert">91_bad: failed\. (.*?)</div>', page)
    assert alert
    assert "no such luck &lt;b&gt;" in alert[1]
    assert "92_good: failed" not in page

    # mended, only the failed one runs again
    write_notebook(tmp_path / "nb", "91_bad", "print('mended')")
    before = (folder / "notebooks" / "92_good.ipynb").stat().st_mtime_ns
    folder, fine = pipeline.run(tiny, chosen=[bad, good], name="r")
    assert fine
    assert (folder / "notebooks" / "92_good.ipynb").stat().st_mtime_ns == before
    assert 'role="alert"' not in (folder / "index.html").read_text()


def test_notebooks_run_one_by_one_stay_on_one_page_until_the_settings_change(tiny, tmp_path):
    first, second = (write_notebook(tmp_path / "nb", name, "print(extra)") for name in ("91_first", "92_second"))
    for chosen in ([first], [second]):
        folder, fine = pipeline.run(tiny, chosen=chosen, name="r")
        assert fine
    page = (folder / "index.html").read_text()
    assert 'id="91_first"' in page
    assert 'id="92_second"' in page
    pipeline.run(replace(tiny, seed=1), chosen=[second], name="r")
    assert 'id="91_first"' not in (folder / "index.html").read_text()


def test_a_training_that_diverges_is_told_on_the_page(tiny, tmp_path, monkeypatch):
    def diverge(*_, **__):
        raise FloatingPointError("the loss of normal became nan in epoch 1")

    monkeypatch.setattr("atviz.train.fit", diverge)
    folder, fine = pipeline.run(tiny, chosen=[write_notebook(tmp_path / "nb", "91_x", "1")], name="r")
    assert not fine
    assert "became nan in epoch 1" in (folder / "index.html").read_text()
    assert not (folder / "notebooks").exists()


def test_killed_in_the_middle_of_training_it_goes_on_from_the_last_epoch(tmp_path):
    args = ["run", *TINY, "--epochs", "30", "--models", "normal,fgsm-0.1", "--notebooks", "05"]
    process = subprocess.Popen(
        [*ATVIZ, *args], env={**os.environ, "ATVIZ_HOME": str(tmp_path)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (kept := list(tmp_path.glob("checkpoints/local/*.training"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert kept, "no epoch was finished in two minutes"
    import torch

    done = torch.load(kept[0], weights_only=True)["done"]
    assert 0 < done["epoch"] < 30, "killed too late to show anything"
    finished = atviz(*args, home=tmp_path)
    assert finished.returncode == 0, finished.stderr
    card = next(json.loads(p.read_text()) for p in tmp_path.glob("checkpoints/local/*normal*/card.json"))
    # the epochs before the kill were not trained again: their clock times are those that were kept
    assert [row["seconds"] for row in card["history"][: done["epoch"]]] == [row["seconds"] for row in done["history"]]
    assert not list(tmp_path.glob("checkpoints/local/*.training"))


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.alts = [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [attrs[key] for key in ("src", "href") if key in attrs]
        if tag == "img":
            self.alts.append(attrs["alt"])


def test_the_page_needs_no_network_and_its_links_lead_somewhere(smoke_run):
    page = (smoke_run / "index.html").read_text()
    parser = Links()
    parser.feed(page)
    for link in parser.links:
        assert link.startswith(("#", "data:image/png;base64,")) or (smoke_run / link).is_file(), link[:80]
    assert not re.search(r"https?://|@import|url\(", page)
    assert len(parser.alts) == len(list((smoke_run / "figures").glob("*.png"))) >= 15
    assert all(len(alt) > 20 for alt in parser.alts)


def test_the_page_begins_with_every_finding(smoke_run):
    page = (smoke_run / "index.html").read_text()
    rows = [row for path in sorted((smoke_run / "findings").glob("*.json")) for row in json.loads(path.read_text())]
    table = page[page.index('<table class="findings">') : page.index("</table>")]
    assert page.index('<table class="findings">') < page.index("<figure>")
    # a later notebook may find what an earlier one found: then it is said once
    assert table.count("<tr>") == len({json.dumps(row) for row in rows}) + 1 >= 10
    for row in rows:
        assert row["label"].replace("'", "&#39;") in table


def test_the_page_can_be_written_again_from_its_folder(smoke_run, tmp_path):
    before = (smoke_run / "index.html").read_bytes()
    (smoke_run / "index.html").unlink()
    assert write_report(smoke_run).read_bytes() == before
    with pytest.raises(FileNotFoundError, match="holds no run"):
        write_report(tmp_path)


def test_the_same_run_again_executes_nothing(smoke_run, smoke_home):
    before = {path: path.stat().st_mtime_ns for path in smoke_run.rglob("*.*") if path.suffix in (".ipynb", ".png", ".csv")}
    done = atviz("run", "--profile", "smoke", "--name", "smoke", home=smoke_home)
    assert done.returncode == 0
    assert done.stdout.count("unchanged") == len(pipeline.notebooks())
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_readme_is_filled_from_the_findings_and_keeps_what_was_not_run(smoke_run, tmp_path):
    readme = tmp_path / "README.md"
    marks = [
        "findings: smoke",
        "table: smoke 04_saturate_table-6",
        "instruments: controls",
        "findings: absent",
        "table: absent 01_train_table-1",
    ]
    readme.write_text("".join(f"a\n<!-- {m} -->\n{'kept' if 'absent' in m else 'old'}\n<!-- end -->\n" for m in marks))
    fill_readme(readme, smoke_run.parent, {"picture.png": "smoke/figures/04_saturate_2-figure-5.png"})
    text = readme.read_text()
    assert text.count("kept") == 2 and text.count("<!-- end -->") == 5
    assert re.search(r"\| normal \| [\d,]+ \|( \d+\.\d \[\d+\.\d, \d+\.\d\] \|){8}", text)
    assert "| median-filtered once | higher | " in text
    assert "old" not in text
    assert "kept" in text
    for path in (smoke_run / "findings").glob("*.json"):
        for row in json.loads(path.read_text()):
            assert f"| {row['label']} | " in text
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_readme_lacks_no_table_and_no_figure():
    readme = Path(__file__).parents[1] / "README.md"
    text = readme.read_text()
    blocks = re.findall(r"<!-- (?:findings|table|instruments): .+? -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert len(blocks) >= 10 and all(block.count("\n| ") >= 5 for block in blocks)
    pictures = re.findall(r"!\[[^\]]+\]\((.+?)\)", text)
    assert len(pictures) >= 10 and all((readme.parent / path).is_file() for path in pictures)


def test_page_and_readme_mark_what_the_controls_distrust(tmp_path, monkeypatch):
    trust = {"saturate-1024": {"verdict": "unreliable", "why": "orders them wrongly"}, "sparsity": {"verdict": "reliable", "why": ""}}
    monkeypatch.setattr(findings, "verdicts", lambda: trust)
    folder = tmp_path / "results" / "r"
    (folder / "findings").mkdir(parents=True)
    made = [findings.Finding(m, v, 0.5, None, 0.7, 0.2, 0.1, 0.3, 100).row() for m, v in (("saturate", 1024), ("sparsity", 0))]
    (folder / "findings" / "04_saturate.json").write_text(json.dumps(made))
    settings = {"dataset": "fashion", "models": ["normal"], "arch": "small", "profile": "quick", "seed": 0}
    stages = {name: {"status": "done"} for name in ("train", "04_saturate")}
    (folder / "run.json").write_text(json.dumps({"settings": settings, "stages": stages, "order": ["04_saturate"], "version": "0"}))
    page = write_report(folder).read_text()
    assert page.count("unreliable in the controls: orders them wrongly") == 2  # in the table and in the sentence
    (tmp_path / "README.md").write_text("<!-- findings: r -->\n<!-- end -->")
    fill_readme(tmp_path / "README.md", tmp_path / "results", {})
    rows = [line for line in (tmp_path / "README.md").read_text().splitlines() if "| 100 |" in line]
    assert [row.endswith("agrees; unreliable in the controls: orders them wrongly |") for row in rows] == [True, False]
    assert rows[1].endswith("| agrees |")


KILLED = """
import sys
from pathlib import Path
from atviz import pipeline
from atviz.study import Settings
settings = Settings(profile="smoke", train_limit=200, test_limit=60, models=("normal", "fgsm-0.1"))
pipeline.run(settings, chosen=[Path(p) for p in sys.argv[1:]], name="r")
"""


def test_killed_between_stages_it_goes_on_with_the_one_that_was_not_finished(tmp_path):
    first = write_notebook(tmp_path / "nb", "91_first", "print('first')")
    flag = tmp_path / "flag"
    once = "\n".join(
        [
            "import os, signal, pathlib",
            f"flag = pathlib.Path({str(flag)!r})",
            "if not flag.exists():",
            "    flag.touch()",
            "    os.kill(os.getppid(), signal.SIGKILL)",
        ]
    )
    second = write_notebook(tmp_path / "nb", "92_second", once)
    command = [sys.executable, "-c", KILLED, str(first), str(second)]
    environment = {**os.environ, "ATVIZ_HOME": str(tmp_path)}
    assert subprocess.run(command, env=environment, capture_output=True, timeout=300).returncode == -signal.SIGKILL
    folder = tmp_path / "results" / "r"
    stages = json.loads((folder / "run.json").read_text())["stages"]
    assert (stages["91_first"]["status"], stages["92_second"]["status"]) == ("done", "cut off")
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "91_first: unchanged" in again.stdout
    assert "92_second: unchanged" not in again.stdout
    assert json.loads((folder / "run.json").read_text())["stages"]["92_second"]["status"] == "done"
