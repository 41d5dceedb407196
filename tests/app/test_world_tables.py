"""The tables of the worlds say what their rows say."""

import pandas as pd
import pytest

from atviz.app import world_tables
from atviz.evidence import crossed, removed
from atviz.papers import later


def cells(lines):
    return [[cell.strip() for cell in each.strip("|").split(" | ")] for each in lines]


@pytest.mark.parametrize("name", world_tables.TABLES)
def test_every_table_is_made_of_what_ships_and_none_without_it(name, monkeypatch):
    header, rule, *rows = cells(world_tables.TABLES[name]())
    assert {len(row) for row in (header, *rows)} == {len(header)} and len(rule) == len(header) and len(rows) >= 4
    monkeypatch.setattr(crossed, "rows", lambda table, experiment=None: pd.DataFrame())
    assert world_tables.TABLES[name]() == []


def test_kinds_stand_with_their_accuracies_and_the_number_of_instruments(monkeypatch):
    names = list(removed.instruments())
    rows = pd.DataFrame([
        {"kind": kind, "seed": seed, "clean": 0.5, "own": 0.75} | dict.fromkeys(names, seed * 0.001 - (kind == "shuffled"))
        for kind in removed.KINDS for seed in range(3)
    ])  # fmt: skip
    monkeypatch.setattr(removed, "rows", lambda: rows)
    _, _, *body = cells(world_tables.real_images())
    signs = [i.sign for i, _ in removed.instruments().values() if i.name != "patch_shuffle"]  # which they have practiced
    by_kind = {row[0]: row for row in body}
    assert by_kind["shuffled"][3:] == ["50.0 %", "75.0 %", str(signs.count(1)), str(signs.count(-1)), "0"]
    assert by_kind["stylized"][5:] == ["0", "0", str(len(names) - 1)] and by_kind["high-passed"][2:3] == ["(unknown)"]
    assert by_kind["normal"][2] == "" and list(by_kind) == list(removed.KINDS)


def test_a_claim_that_was_not_measured_in_a_world_is_said(monkeypatch):
    row = {"claim": "ground", "world": "inside", "difference": -0.206, "ci_low": -0.3, "ci_high": -0.1, "verdict": "agrees"}
    monkeypatch.setattr(later, "by_world", lambda: pd.DataFrame([row]))
    header, _, only = cells(world_tables.claims())
    assert header[2].endswith("lower (Moayeri et al.)") and only == [
        "inside",
        "not measured",
        "−0.21 [−0.30, −0.10] agrees",
        "not measured",
    ]
