"""Claims of later papers: the verdict is that of the interval over networks, and the rivals are counted."""

import pandas as pd
import pytest

from atviz.evidence import crossed
from atviz.evidence.crossed import Cell
from atviz.papers import later

KINDS = ("normal", "pgd-inf-0.005", "pgd-inf-0.01")


def read(**means):
    """Three networks of each kind: instrument → the mean of each kind."""
    return pd.DataFrame([
        {"network": kind, "seed": seed, "instrument": name, "value": mean + 0.01 * seed, "ci_low": 0.0, "ci_high": 1.0}
        for name, of_kinds in means.items() for kind, mean in zip(KINDS, of_kinds, strict=True) for seed in range(3)
    ])  # fmt: skip


@pytest.fixture
def worlds(monkeypatch):
    """Readings of four worlds: in the first three, the adversarially trained networks read higher by 1, in the last lower."""

    def table(which):
        cells = [
            Cell(world, norm=norm, eps=eps, seed=seed)
            for world in ("inside", "bold-coarse-shape", "bold-fine-shape", "alike-fine-shape")
            for norm, eps in (("none", 0.0), ("linf", 0.1), ("linf", 0.2)) for seed in range(3)
        ]  # fmt: skip
        rows = []
        for cell in cells:
            row = {name: getattr(cell, name) for name in crossed.KEY}
            learned = cell.eps < 0.2  # under the strongest attack nothing is learned
            sign = -1 if cell.world == "alike-fine-shape" else 1
            rows.append(row | ({"clean": 0.9 if learned else 0.2, "robust": 0.5} if which == crossed.CROSSED else {
                "channel_width": 1 + 0.01 * cell.seed + sign * (cell.eps == 0.1) + 9 * (cell.eps == 0.2),
            }))  # fmt: skip
        return pd.DataFrame(rows)

    monkeypatch.setattr(crossed, "rows", lambda which, experiment=None: table(which))


def test_each_world_is_read_at_the_strongest_attack_that_was_learned(worlds):
    found = later.by_world().set_index("world")
    assert (found.claim == "wider_channel").all() and (found.eps == 0.1).all() and (found.networks == 6).all()
    assert found.difference.tolist() == pytest.approx([1, 1, 1, -1])
    assert found.verdict.tolist() == ["agrees", "agrees", "agrees", "disagrees"]
    assert (found.ci_low < found.difference).all() and (found.difference < found.ci_high).all()


def test_a_finding_is_of_the_means_and_counts_its_rivals(worlds):
    (finding,) = later.later_findings(read(channel_width=(2.0, 2.001, 2.5)), baseline="normal", subject="pgd-inf-0.01")
    assert (finding.baseline, finding.subject, finding.difference) == pytest.approx((2.01, 2.51, 0.5))
    assert (finding.verdict, finding.n, finding.unit) == ("agrees", 6, "networks")
    underfit, radius, elsewhere = finding.rivals
    assert underfit.kind == "unmeasured"
    assert (radius.agree, radius.of) == (0, 1)  # not under the weaker attack
    assert (elsewhere.agree, elsewhere.of) == (2, 3)  # the finding's own world does not count


def test_another_definition_can_turn_the_verdict(worlds):
    rows = read(relative_instability=(1, 2, 3), instability=(3, 2, 1))
    (finding,) = later.later_findings(rows, baseline="normal", subject="pgd-inf-0.01")
    assert finding.verdict == "agrees" and "choice of the definition it is −2.000" in finding.judged
    assert finding.rivals[3].kind == "unmeasured"  # the readings of the worlds do not have it


def test_one_network_of_a_kind_gives_no_finding(worlds):
    rows = read(grounds=(0.9, 0.8, 0.7))
    assert not later.later_findings(rows[rows.seed == 0], baseline="normal", subject="pgd-inf-0.01")
    assert len(later.later_findings(rows, baseline="normal", subject="pgd-inf-0.01")) == 1


def test_without_rows_there_is_no_table(monkeypatch):
    monkeypatch.setattr(crossed, "rows", lambda which, experiment=None: pd.DataFrame())
    assert later.by_world().empty
    (finding,) = later.later_findings(read(grounds=(0.9, 0.8, 0.5)), baseline="normal", subject="pgd-inf-0.01")
    assert finding.rivals[2].kind == "unmeasured"
