"""The wheel: it carries what the code asks for and nothing else, and works from a folder that is empty.

The other packages are those of this environment. ``ATVIZ_WHEEL=dist/….whl`` looks at that wheel, installs it with all it needs into an
environment of its own, and executes every notebook there; `make wheel` does this.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

from atviz.app import pipeline

ROOT = Path(__file__).parent.parent
GIVEN = os.environ.get("ATVIZ_WHEEL", "")
INSIDE = "atviz/_shipped/"
PARTS = ("pyproject.toml", ".gitignore", "README.md", "LICENSE", "atviz", "checkpoints", "data/fashion", "notebooks")  # what a build reads
# what lies about in a checkout where somebody works
LITTER = (
    "results/quick-fashion/index.html", "checkpoints/local/mine/card.json", "data/cache/a.npy", "data/downloads/a.tar",
    "notebooks/.ipynb_checkpoints/04_saturate-checkpoint.ipynb",
)  # fmt: skip


def asked() -> set[str]:
    """The places that the code asks `atviz.shipped` for, up to the first part that is no literal."""
    places = set()
    for path in (ROOT / "atviz").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "shipped":
                literal = [part.value if isinstance(part, ast.Constant) else None for part in node.args]
                places.add("/".join(literal[: [*literal, None].index(None)]))
    assert len(places) > 5 and all(places)
    return places


def files(place: Path) -> set[Path]:
    return {path for path in ([place] if place.is_file() else place.rglob("*")) if path.is_file()}


def said(*command: object, cwd: Path | None = None, code: int = 0) -> str:
    """What a command prints, which ends with this code; it knows nothing of the folders of the tests."""
    env = {name: value for name, value in os.environ.items() if name not in ("ATVIZ_HOME", "PYTHONPATH")}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=cwd, env=env, timeout=1800, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if not code else done.stderr


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel is built from."""
    copy = tmp_path_factory.mktemp("tree")
    for part in PARTS:
        (copy / part).parent.mkdir(exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__", "local", ".ipynb_checkpoints"))
        else:
            shutil.copyfile(ROOT / part, copy / part)
    return copy


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if GIVEN:
        return Path(GIVEN).resolve()
    littered, out = tmp_path_factory.mktemp("littered") / "tree", tmp_path_factory.mktemp("dist")
    shutil.copytree(tree, littered)
    for name in LITTER:
        (littered / name).parent.mkdir(parents=True, exist_ok=True)
        (littered / name).write_text("{}")
    said(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out, littered)
    (built,) = out.glob("*.whl")
    return built


def test_it_carries_what_the_code_asks_for_and_nothing_else(wheel, tree):
    with ZipFile(wheel) as packed:
        names = set(packed.namelist())
    package = {name for name in names if name.startswith("atviz/") and not name.startswith(INSIDE)}
    assert package == {path.relative_to(tree).as_posix() for path in files(tree / "atviz")}
    assert {name.split("/")[0] for name in names - package} <= {"atviz", f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"}
    shipped = {name.removeprefix(INSIDE) for name in names if name.startswith(INSIDE)}
    wanted = {path.relative_to(tree) for place in asked() for path in files(tree / place)}
    wanted -= {path for path in wanted if path.suffix == ".md" or (path.parts[0] == "notebooks" and path.suffix != ".ipynb")}  # pages
    assert shipped == {path.as_posix() for path in wanted} | {"data/fashion/LICENSE", "data/fashion/README.md"}
    assert not any(name.endswith(".py") for name in shipped)  # code that ships is part of what a run is stored under


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the wheel in it, and with what other projects leave in site-packages."""
    place = tmp_path_factory.mktemp("environment")
    said(sys.executable, "-m", "venv", place, *([] if GIVEN else ["--without-pip"]))
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = Path(said(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    if GIVEN:
        said(python, "-m", "pip", "install", "--quiet", wheel)
    else:
        said(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
        # names of folders, whose own .pth files, and so the checkout, are not read
        (site / "others.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    (site / "pyproject.toml").touch()
    for name in ("checkpoints/zoo", "data/fashion", "notebooks"):
        (site / name).mkdir(parents=True, exist_ok=True)
    return python


def installed(python: Path) -> dict[Path, tuple[int, int]]:
    """The files of the installed package, with size and time."""
    place = Path(said(python, "-c", "import atviz; print(atviz.__path__[0])", cwd=python.parent).strip())
    assert place.is_relative_to(python.parents[1])
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files(place) if path.parent.name != "__pycache__"}


def test_what_ships_is_found_inside_and_what_is_made_lies_in_the_working_directory(python, tmp_path):
    code = f"""
import sys
from pathlib import Path
import atviz
from atviz.app import pipeline, serve
inside, here = Path(atviz.__path__[0], "_shipped"), Path.cwd()
assert inside.is_relative_to(sys.prefix) and atviz.checkout() is None and atviz.home() == here
for place in {sorted(asked())!r}:
    assert atviz.shipped(*place.split("/")) == inside / place
    assert (inside / place).exists() or not Path({str(ROOT)!r}, place).exists(), place
assert [path.stem for path in pipeline.notebooks()] == {[path.stem for path in pipeline.notebooks()]!r}
assert len(atviz.data.load("fashion", "test")) == 2000
assert serve.prepare({{}}).parent == here / "results" / "explore"
"""
    said(python, "-c", code, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_the_networks_that_ship_are_listed_and_those_that_make_them_refuse(python, tmp_path):
    command = python.with_name("atviz")
    rows = json.loads(said(command, "models", "list", "--json", cwd=tmp_path))
    cards = [json.loads(path.read_text()) for path in (ROOT / "checkpoints").rglob("card.json") if "local" not in path.parts]
    assert sorted(row["sha256"] for row in rows) == sorted(card["sha256"] for card in cards if "clean" in card["metrics"])
    assert "fashion" in said(command, "data", "list", cwd=tmp_path).split()
    for hidden in ("notebooks", "readme"):
        assert said(command, hidden, cwd=tmp_path, code=2).count("needs a checkout of the project") == 1
    assert not list(tmp_path.iterdir())


def test_a_run_leaves_everything_in_an_empty_folder(python, tmp_path):
    before = installed(python)
    chosen = [] if GIVEN else ["--notebooks", "05_shuffle", "--models", "normal,fgsm-0.1", "--train-limit", "200", "--test-limit", "60"]
    page = Path(said(python.with_name("atviz"), "run", "--profile", "smoke", *chosen, cwd=tmp_path).splitlines()[-1])
    run = json.loads(page.with_name("run.json").read_text())
    assert page.parents[1] == tmp_path / "results" and page.is_file()
    assert run["order"] == (["05_shuffle"] if chosen else [path.stem for path in pipeline.notebooks()])
    assert {stage["status"] for stage in run["stages"].values()} == {"done"} and run["commit"] == ""
    assert list((tmp_path / "checkpoints" / "local").glob("*/card.json"))
    assert installed(python) == before


@pytest.mark.parametrize("path", pipeline.notebooks(), ids=lambda path: path.stem)
def test_the_first_cell_of_a_notebook_says_how_to_install_what_it_imports(path):
    first = json.loads(path.read_text())["cells"][0]
    assert first["cell_type"] == "markdown"
    assert all(f"`%pip install {what}`" in "".join(first["source"]) for what in ("atviz", "PATH/atviz-….whl"))
