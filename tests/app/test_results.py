"""The commands on what lies in results/, as a user types them."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from atviz import disk
from atviz.app.cli import app
from atviz.evidence import Claim, Finding

runner = CliRunner()


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two runs, r0 and r1, of one finding each."""
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    claim = Claim("saturate", 1024, "saturated", "higher", "Tables 4 to 6")
    for number in (0, 1):
        folder = tmp_path / "results" / f"r{number}"
        row = Finding(claim, 0.5, None, 0.7, 0.2, 0.1, 0.3, 100, ("normal", "pgd-inf-8")).row()
        disk.write_json(folder / "findings" / "04_saturate.json", [row])
        stages = {name: {"status": "done"} for name in ("train", "04_saturate")}
        settings = {"dataset": "fashion", "models": ["normal"], "arch": "small", "profile": "quick", "seed": number}
        disk.write_json(folder / "run.json", {"settings": settings, "stages": stages, "order": ["04_saturate"], "version": "0"})
    return tmp_path / "results"


def test_compare_prints_its_table_and_names_its_page_beside_it(results):
    done = runner.invoke(app, ["compare", "r0", "r1"])
    page = results / "r0-vs-r1" / "index.html"
    assert done.exit_code == 0 and done.stderr == f"{page}\n" and page.is_file()
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["key"], float(row["change"]), row["verdict_changed"]) == ("saturate-1024", 0.0, "False")
    found = json.loads(runner.invoke(app, ["compare", "r0", "r1", "--json"]).stdout)
    assert found["page"] == str(page) and found["settings"] == [{"setting": "seed", "a": 0, "b": 1}]
    assert [held["kind"] for held in json.loads(runner.invoke(app, ["runs", "--json"]).stdout)] == ["comparison", "run", "run"]


def test_a_page_is_written_again_by_the_name_of_its_run(results):
    done = runner.invoke(app, ["report", "r0"])
    assert (done.exit_code, done.output) == (0, f"{results / 'r0' / 'index.html'}\n") and "saturated" in (
        results / "r0" / "index.html"
    ).read_text()
    (results / "r0" / "index.html").unlink()
    assert runner.invoke(app, ["report", str(results / "r0")]).output == done.output and (results / "r0" / "index.html").is_file()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["report", "r"], "unknown run 'r'; did you mean 'r"),
        (["report", "r0-vs-r1"], "r0-vs-r1 is a comparison; `atviz compare` writes it again"),
        (["compare", "r0", "nowhere"], "unknown run 'nowhere'"),
        (["compare", "r0", "r0-vs-r1"], "r0-vs-r1 is a comparison; compare takes two runs"),
        (["clean", "r0", "r2"], "unknown thing to clean 'r2'; did you mean 'r"),
    ],
)
def test_a_mistake_gets_a_sentence(results, args, message):
    runner.invoke(app, ["compare", "r0", "r1"])
    done = runner.invoke(app, args)
    assert done.exit_code == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_comparison_is_freed_by_its_name_and_its_runs_stay(results):
    runner.invoke(app, ["compare", "r0", "r1"])
    done = runner.invoke(app, ["clean", "r0-vs-r1", "--yes"])
    assert done.exit_code == 0 and "a comparison; the same command makes it again" in done.stdout
    assert sorted(path.name for path in results.iterdir()) == ["r0", "r1"]
