"""What commands print: results on stdout, and nothing that a terminal or a program cannot read."""

import json
import logging
import os
import sys

import pytest

from atviz.app import output


def test_json_can_be_read_by_any_program(capsys, tmp_path):
    given = {"a": float("nan"), "b": (1, float("inf")), "c": tmp_path, "d": "− ä", "e": "\udcff", 1: None}
    output.say_json(given)
    found = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert found == {"a": None, "b": [1, None], "c": str(tmp_path), "d": "− ä", "e": "\udcff", "1": None}


def test_a_name_with_odd_characters_stays_in_its_line_and_column(capsys):
    output.say(output.table(("name", "size"), [("a\nb\x1b[31m\udcff", "1"), ("c", "22")]))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[1].startswith(r"a\nb\x1b[31m\udcff  1") and lines[2].index("22") == lines[1].index("1", 17)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2**20 - 1, "1.0 MiB"), (5.5 * 2**30, "5.5 GiB"), (2**60, "1048576.0 TiB")],
)
def test_sizes_are_in_the_unit_that_fits(size, text):
    assert output.size_text(size) == text


def test_what_is_printed_beside_a_result_goes_to_stderr_only_where_asked(capsys):
    with output.result_alone():
        print("beside")
    with output.result_alone(False):
        print("among")
    print("result")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("among\nresult\n", "beside\n")


@pytest.mark.parametrize("before", [None, "0"])
def test_quiet_silences_progress_but_no_warning_and_ends(before, capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE")
    if before is not None:
        monkeypatch.setenv("TQDM_DISABLE", before)
    with pytest.raises(KeyError), output.quietly(True):
        print("progress")
        print("warning", file=sys.stderr)
        assert os.environ["TQDM_DISABLE"] == "1" and not logging.getLogger("any").isEnabledFor(logging.INFO)
        raise KeyError
    print("result")
    said = capsys.readouterr()
    assert (said.out, said.err, os.environ.get("TQDM_DISABLE")) == ("result\n", "warning\n", before)
    assert logging.root.manager.disable == logging.NOTSET
    with output.quietly(False):
        print("progress")
    assert capsys.readouterr().out == "progress\n"
