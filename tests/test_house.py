"""The house: rooms and their floors, short files, mirrored tests, light imports, a true CONTRIBUTING.md, and examples that run."""

import doctest
import io
import re
import statistics
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports

import atviz

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "atviz"
FILES = sorted(PACKAGE.rglob("*.py"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
LIBRARY = [room for room in atviz.ROOMS if room != "app"]  # the command line has no names to import
HEAVY = ["torch", "matplotlib", "pandas", "numpy", "captum", "seaborn", "papermill"]


def named(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


WITH_EXAMPLES = [named(path) for path in FILES if ">>> " in path.read_text()]


# --- rooms and floors


def test_every_file_imports_only_from_its_room_or_from_below():
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_there_is_no_circle_of_files():
    """Imports inside functions count, and a room's ``__init__`` is a file like any other."""
    graph = grimp.build_graph("atviz", cache_dir=None)
    assert graph.modules == {named(path) for path in FILES}
    order = list(TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}).static_order())
    assert order.index("atviz.data.images") < order.index("atviz.models.network") < order.index("atviz.training.plan")


def test_the_map_the_contract_and_the_folders_name_the_same_rooms():
    floors = {room: int(floor) for room, floor in re.findall(r"^  (\w+)/ +floor (\d)", CONTRIBUTING, re.M)}
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = [layer.split(" | ") for layer in reversed(layers) if layer != "disk | names"]
    assert floors == {room: floor for floor, names in enumerate(rooms) for room in names}
    assert set(floors) == set(atviz.ROOMS) == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def test_files_are_short():
    lines = {named(path): len(path.read_text().splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > 300} == {}
    assert statistics.median(lines.values()) < 150


def test_the_tests_mirror_the_rooms():
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")} - {Path()}
    assert {folder for folder in folders if not (PACKAGE / folder / "__init__.py").is_file()} == set()
    assert {folder.parts[0] for folder in folders} == set(atviz.ROOMS)


# --- what an import loads


def in_a_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "use",
    [
        "import atviz; assert not [name for name in sys.modules if name.startswith('atviz.')]",
        "from typer.testing import CliRunner; from atviz.app.cli import app; done = CliRunner().invoke(app, ['--help']); assert not done.exit_code",
    ],
    ids=["import atviz", "atviz --help"],
)
def test_nothing_heavy_is_imported(use):
    assert in_a_new_process(f"import sys; {use}; print({set(HEAVY)!r} & set(sys.modules))") == "set()\n"


def test_every_room_is_imported_when_it_is_first_used():
    code = "import atviz, sys\nfor room in atviz.ROOMS:\n    module = getattr(atviz, room)\n    assert sys.modules['atviz.' + room] is module\n"
    in_a_new_process(code + "assert {*atviz.ROOMS, 'checkout', 'home', 'shipped'} == set(atviz.__all__) <= set(dir(atviz))")
    with pytest.raises(AttributeError, match="no attribute 'attic'"):
        atviz.attic  # noqa: B018


@pytest.mark.parametrize("room", LIBRARY)
def test_every_public_name_of_a_room_is_there(room):
    module = import_module(f"atviz.{room}")
    assert module.__doc__ and len(set(module.__all__)) == len(module.__all__) > 0
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_type_checkers_may_read_the_package():
    assert (PACKAGE / "py.typed").is_file()


# --- what is written about it


def test_every_path_in_contributing_exists():
    prose = re.sub(r"^```.*?^```", "", CONTRIBUTING, flags=re.M | re.S)
    paths = re.findall(r"`((?:atviz|tests|notebooks|checkpoints|benchmarks|data)/[\w./-]*)`", prose)
    assert len(set(paths)) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def examples(name: str) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder(exclude_empty=True).find(import_module(name)) if test.examples]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_docstrings_are_true(name):
    found, said = examples(name), io.StringIO()
    assert found, f"{name} has an example that doctest does not find"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in found:
        runner.run(test, out=said.write)
    assert runner.summarize(verbose=False).failed == 0, said.getvalue()


def test_at_least_twenty_public_objects_have_an_example():
    public = {f"{getattr(atviz, room).__name__}.{name}" for room in LIBRARY for name in getattr(atviz, room).__all__}
    shown = {f"atviz.{test.name.split('.')[1]}.{test.name.rpartition('.')[2]}" for name in WITH_EXAMPLES for test in examples(name)}
    assert len(shown & public) >= 20
