"""Records: each result is computed once, and found by what it depends on."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from atviz.evidence import Store, cell, described
from atviz.evidence.records import each


class Counted:
    """A computation that knows how often it ran."""

    def __init__(self, value):
        self.value, self.calls = value, 0

    def __call__(self):
        self.calls += 1
        return self.value


def only(folder):
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize("value", [0, 0.1, True, None, "naïve ε", [1, 2.5], {"a": [1], "b": {"c": None}}, [], 1 / 3])
def test_cell_is_computed_once_and_then_read(tmp_path, value):
    store, work = Store(tmp_path / "deep" / "results"), Counted(value)
    assert store.cell({"model": "a"}, work) == value
    assert store.cell({"model": "a"}, work) == value
    assert (work.calls, store.computed, store.read) == (1, 1, 1)
    # another process finds it too
    again = Store(store.folder)
    assert again.cell({"model": "a"}, work) == value
    assert (work.calls, again.computed, again.read) == (1, 0, 1)


def test_order_of_the_key_does_not_matter(tmp_path):
    store, work = Store(tmp_path), Counted(1)
    store.cell({"a": 1, "b": 2}, work)
    store.cell({"b": 2, "a": 1}, work)
    assert work.calls == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": [1]}),
        ({"a": None}, {}),
        ({"a": 0.1}, {"a": 0.1 + 1e-16}),
    ],
)
def test_different_keys_are_different_cells(tmp_path, one, other):
    store = Store(tmp_path)
    assert store.cell(one, lambda: "one") == "one"
    assert store.cell(other, lambda: "other") == "other"
    assert store.cell(one, lambda: "third") == "one"


def test_a_record_that_ships_is_read_and_never_written(tmp_path):
    made = Store(tmp_path / "shipped")
    made.keep({"model": "a"}, 1)
    store = Store(tmp_path / "own", tmp_path / "shipped")
    assert store.cell({"model": "a"}, lambda: 2) == 1 and store.cell({"model": "b"}, lambda: 2) == 2
    assert (store.computed, store.read, len([*made.folder.iterdir()]), len([*store.folder.iterdir()])) == (1, 1, 1, 1)
    only(made.folder).write_text("{")
    assert store.cell({"model": "a"}, lambda: 3) == 3 and only(made.folder).read_text() == "{"


def test_of_several_cells_only_those_that_are_missing_are_computed(tmp_path):
    store, keys, asked = Store(tmp_path), [{"i": i} for i in range(4)], []
    store.keep(keys[1], "kept")

    def compute(missing):
        asked.append(missing)
        for i in missing:
            if i == 3 and len(asked) == 1:
                raise KeyboardInterrupt
            yield f"new {i}"

    with pytest.raises(KeyboardInterrupt):
        each(store, keys, compute)
    assert each(store, keys, compute) == ["new 0", "kept", "new 2", "new 3"] and asked == [[0, 2, 3], [3]]
    assert each(store, keys, compute) == [*each(None, keys[:1], compute), "kept", "new 2", "new 3"]


@pytest.mark.parametrize("damage", [b"", b"{", b'{"key": {"model": "a"}}', b"\0" * 40, b"[]", b"null", b"1", b"\xff\xfe\xff"])
def test_damaged_file_is_computed_again(tmp_path, damage):
    store = Store(tmp_path)
    store.cell({"model": "a"}, lambda: 1)
    only(tmp_path).write_bytes(damage)
    assert store.cell({"model": "a"}, lambda: 2) == 2
    assert store.computed == 2
    assert store.cell({"model": "a"}, lambda: 3) == 2  # and kept


def test_file_is_readable_and_says_its_key(tmp_path):
    Store(tmp_path).cell({"model": "a", "level": 4}, lambda: [0.5])
    kept = json.loads(only(tmp_path).read_text())
    assert len(kept.pop("sha256")) == 64
    assert kept == {"key": {"model": "a", "level": 4}, "value": [0.5]}


def test_a_bit_that_flips_is_noticed(tmp_path):
    store = Store(tmp_path)
    store.cell({"model": "a"}, lambda: [[3, 1], [4, 1]])
    path = only(tmp_path)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            assert store.find({"model": "a"}) == [[3, 1], [4, 1]]  # white space may change
        except KeyError:
            continue


def test_a_record_under_another_keys_name_is_not_read(tmp_path):
    store = Store(tmp_path)
    store.keep({"model": "a"}, 1)
    only(tmp_path).rename(tmp_path / store.name({"model": "b"}))
    with pytest.raises(KeyError):
        store.find({"model": "b"})


def fail():
    raise RuntimeError("stopped")


@pytest.mark.parametrize("compute", [fail, lambda: object(), lambda: {1, 2}], ids=["exception", "object", "set"])
def test_failed_computation_leaves_nothing(tmp_path, compute):
    store = Store(tmp_path / "results")
    with pytest.raises((RuntimeError, TypeError)):
        store.cell({"model": "a"}, compute)
    assert store.computed == 0
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert store.cell({"model": "a"}, lambda: 1) == 1


def test_concurrent_keys_stay_distinct(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: Store(tmp_path).cell({"i": i}, lambda: i * i), range(100)))
    assert found == [i * i for i in range(100)]
    assert len(list(tmp_path.iterdir())) == 100  # and no half-written file beside them
    assert [Store(tmp_path).cell({"i": i}, fail) for i in range(100)] == found


def test_processes_share_a_folder(tmp_path):
    code = "import sys; from pathlib import Path; from atviz.evidence import Store\nfor i in range(50): Store(Path(sys.argv[1])).cell({'i': i}, lambda: -i)"
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [p.wait(120) for p in running] == [0, 0]
    assert [Store(tmp_path).cell({"i": i}, fail) for i in range(50)] == [-i for i in range(50)]
    assert len(list(tmp_path.iterdir())) == 50


def test_without_a_store_everything_is_computed(tmp_path):
    work = Counted(1)
    assert [cell(None, {"a": 1}, work), cell(None, {"a": 1}, work)] == [1, 1]
    assert work.calls == 2
    assert cell(Store(tmp_path), {"a": 1}, work) == cell(Store(tmp_path), {"a": 1}, fail) == 1


def test_a_function_is_described_by_its_key_or_its_plain_arguments():
    keyed = Counted(1)
    keyed.key = "counted 1"
    assert described(keyed) == "counted 1"
    assert described(partial(json.dumps, indent=2)) == {"name": "json.dumps", "indent": 2}
    assert described(partial(json.dumps, separators=(",", ":"))) == {"name": "json.dumps", "separators": (",", ":")}
    for unknown in (lambda x: x, json.dumps, partial(json.dumps, 1), partial(json.dumps, cls=object()), partial(json.dumps, x=(1, {}))):
        assert described(unknown) is None


def test_a_second_process_waits_for_what_another_computes(tmp_path):
    store, other, began, order = Store(tmp_path), Store(tmp_path), threading.Event(), []

    def slowly():
        began.set()
        time.sleep(0.3)
        order.append("computed")
        return 7

    def again():
        pytest.fail("computed twice")

    first = threading.Thread(target=lambda: store.cell({"a": 1}, slowly, alone=True))
    first.start()
    assert began.wait(10)
    assert other.cell({"a": 2}, lambda: 8, alone=True) == 8 and not order  # another value does not wait
    assert other.cell({"a": 1}, again, alone=True) == 7 and order == ["computed"]
    first.join()
    assert (store.computed, other.computed, other.read) == (1, 1, 1)
