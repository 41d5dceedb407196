"""The notebooks: as they are shipped, as they run, and held by nbval to what they printed."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from atviz.app import pipeline

NOTEBOOKS = pipeline.notebooks()
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@each
def test_shipped_outputs_are_of_the_code_beside_them(path):
    notebook = nbformat.read(path, as_version=4)
    stamp = notebook.metadata.get("atviz", {}).get("source_sha256")
    assert stamp == pipeline.source_digest(notebook), f"{path.name}: its outputs are older than its code; run `make notebooks`"
    outputs = [output for cell in code_cells(path) for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert "widgets" not in notebook.metadata
    assert path.stat().st_size < 2_250_000


@each
def test_it_is_prose_and_calls(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(notebook.cells) <= 25
    for cell in code_cells(path):
        assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) for node in ast.walk(ast.parse(cell.source)))
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert "?" in first.source
    assert "**Look for**" in first.source
    assert "atviz train" in first.source  # the command that makes what is missing


@each
def test_no_machine_path_is_in_it(path):
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work|Users)/", path.read_text())


@each
def test_it_ends_with_what_was_found(path, smoke_run):
    last = code_cells(smoke_run / "notebooks" / path.name)[-1]
    table, found, sentence = last.outputs[-1]["data"]["text/markdown"].rpartition("**Found.** ")
    assert found and sentence[0].isupper()
    findings = json.loads((smoke_run / "findings" / f"{path.stem}.json").read_text())
    assert findings
    for row in findings:
        assert f"| {row['label']} |" in table
    assert findings[0]["label"].lower() in sentence.lower()


@each
def test_smoke_copy_has_outputs_of_every_kind(path, smoke_run):
    assert list(smoke_run.glob(f"figures/{path.stem}_*.png"))
    assert list(smoke_run.glob(f"tables/{path.stem}_*.csv"))


def nbval(*paths: Path, config: Path) -> subprocess.CompletedProcess:
    sanitize = Path(__file__).with_name("nbval.cfg")
    command = [sys.executable, "-m", "pytest", "-c", str(config), "--nbval", "--nbval-sanitize-with", str(sanitize)]
    command += ["-p", "no:cacheprovider", "-q"]
    return subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path / "pytest.ini"


def test_nbval_holds_every_cell_of_the_smoke_run_to_its_outputs(smoke_run, smoke_home, config, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(smoke_home))
    monkeypatch.setenv("TQDM_DISABLE", "1")
    executed = sorted((smoke_run / "notebooks").glob("*.ipynb"))
    cells = [cell for path in executed for cell in code_cells(path)]
    # nbval compares nothing where a notebook was never executed
    assert all(cell.execution_count for cell in cells)
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) / 2
    done = nbval(*executed, config=config)
    assert done.returncode == 0, done.stdout[-4000:]
    assert f"{len(cells)} passed" in done.stdout


def test_nbval_sees_a_changed_number(smoke_run, smoke_home, config, tmp_path, monkeypatch):
    monkeypatch.setenv("ATVIZ_HOME", str(smoke_home))
    monkeypatch.setenv("TQDM_DISABLE", "1")
    notebook = nbformat.read(smoke_run / "notebooks" / "05_shuffle.ipynb", as_version=4)
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    text = last.outputs[-1]["data"]["text/markdown"]
    digit = re.search(r"\d(?=\.\d %)", text)
    last.outputs[-1]["data"]["text/markdown"] = text[: digit.start()] + str((int(digit[0]) + 1) % 10) + text[digit.end() :]
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    done = nbval(tmp_path / "changed.ipynb", config=config)
    assert done.returncode == 1
    assert "1 failed" in done.stdout
