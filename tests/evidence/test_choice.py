"""The model of the choice finds the rule by which rows were made."""

import numpy as np
import pandas as pd
import pytest

from atviz.data import WORLDS
from atviz.evidence import choice, crossed


def made(rule, seeds=range(5), spread=0.3):
    """Rows of all worlds and radii; ``rule`` gives the log odds of shape from the columns of the design."""
    cells = [cell for cell in crossed.cells(seeds=seeds) if cell.cue == "both" and cell.view == "all"]
    rows = pd.DataFrame([vars(cell) | {"clean": 0.95, "n": 1000} for cell in cells])
    own = np.random.default_rng(0).normal(0, spread, len(rows))
    shape = 1 / (1 + np.exp(-(rule(choice.design(rows)) + own)))
    return rows.assign(shape=shape, texture=1 - shape)


@pytest.mark.parametrize("term", choice.SPEAKS)
def test_the_term_of_the_hypothesis_that_made_the_rows_stands_out(term):
    found = choice.fit(made(lambda columns: -0.5 + 1.2 * columns[term])).set_index("term")
    assert found.ci_low[term] > 0.9 and found.ci_high[term] < 1.5
    others = [name for name in choice.SPEAKS if name != term]
    assert (found.coefficient[others].abs() < 0.25).all() and (found.explained[others] < 0.2 * found.explained[term]).all()


def test_intervals_are_wider_where_seeds_differ():
    def widths(spread):
        rows = made(lambda columns: columns["amplitude"], spread=0.05)
        odds = np.log(rows["shape"] / rows.texture) + rows.seed.map(dict(enumerate(spread * np.array([-1, 1, 0, -1, 1]))))
        shape = 1 / (1 + np.exp(-odds))
        found = choice.fit(rows.assign(shape=shape, texture=1 - shape))
        return float((found.ci_high - found.ci_low)[0])

    assert widths(1.0) > 3 * widths(0.05)


def test_networks_that_learned_nothing_and_single_cues_are_left_out():
    rows = made(lambda columns: columns["scale"])
    alone = rows[rows.norm == "none"].assign(cue="shape", shape=1.0, texture=0.0)
    blind = rows[rows.eps > 0.3].assign(clean=0.1, shape=0.5, texture=0.5)
    kept = choice.usable(pd.concat([rows, alone, blind.assign(seed=9)]))
    assert len(kept) == (rows.norm != "l2").sum() and set(kept.seed) == set(range(5))


def test_radii_of_both_norms_are_in_units_of_the_weaker_cue():
    rows = made(lambda columns: columns["scale"])
    found = choice.design(rows)["adversarial:eps"]
    for world in crossed.L2_WORLDS:
        one, other = (np.sort(found[(rows.world == world) & (rows.norm == norm) & (rows.seed == 0)]) for norm in ("linf", "l2"))
        assert one == pytest.approx(other, abs=0.01) and one[0] == pytest.approx(-2, abs=0.01)
    assert (found[rows.norm == "none"] == 0).all() and set(rows.world) == set(WORLDS)


def test_too_few_seeds_or_worlds_are_an_error():
    rows = made(lambda columns: columns["scale"], seeds=[0])
    with pytest.raises(ValueError, match=r"the rows are of 1 seeds and 7 worlds; there must be at least 2 and 3"):
        choice.fit(rows)


def test_a_shift_is_the_choice_of_adversarial_minus_that_of_normal_networks():
    """Towards shape by 0.2 where it is the larger cue, and away from it where it is the smaller one; a world where nothing learned is left out."""
    signs = {name: np.sign(np.round(np.log(world.amplitudes[0] / world.amplitudes[1]), 1)) for name, world in WORLDS.items()}
    rows = made(lambda columns: columns["scale"], spread=0.2)
    normal = rows[rows.norm == "none"].set_index(["world", "seed"])["shape"]
    start = normal.loc[pd.MultiIndex.from_frame(rows[["world", "seed"]])].to_numpy()
    step = np.where(rows.norm == "none", 0, rows.world.map(signs) * 0.1 * rows.eps.rank(pct=True) * 2)
    rows = rows.assign(shape=start + step, texture=1 - start - step)
    rows.loc[(rows.world == "inside") & (rows.norm != "none"), "clean"] = 0.1
    found = choice.shifts(rows).set_index("world")
    assert "inside" not in found.index and len(found) == len(WORLDS) - 1
    for world, row in found.iterrows():
        assert row.moved == {1: "shape", -1: "texture", 0: "neither"}[signs[world]]
        assert row["larger amplitude"] == ("open" if signs[world] == 0 else "right")
        assert row["shape"] == ("right" if signs[world] == 1 else "wrong")
        assert row.networks == 25 and row.ci_low <= row["shift"] <= row.ci_high
        part = rows[(rows.world == world) & (rows.norm == "linf")]
        expected = (part["shape"] - part.texture).mean() - (2 * normal.loc[world] - 1).mean()
        assert row["shift"] == pytest.approx(expected)
