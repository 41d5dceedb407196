"""The model of the choice finds the rule by which rows were made."""

import numpy as np
import pandas as pd
import pytest

from atviz.data import WORLDS
from atviz.evidence import choice, crossed


def made(rule, seeds=range(5), spread=0.3):
    """Rows of all worlds and radii; ``rule`` gives the log odds of shape from the columns of the design."""
    cells = [cell for cell in crossed.cells(seeds=seeds) if cell.cue == "both" and cell.view == "all"]
    rows = pd.DataFrame([vars(cell) | {"clean": 0.95, "robust": 0.6, "n": 1000} for cell in cells])
    own = np.random.default_rng(0).normal(0, spread, len(rows))
    shape = 1 / (1 + np.exp(-(rule(choice.design(rows)) + own)))
    return rows.assign(shape=shape, texture=1 - shape, neither=0.0)


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
    with pytest.raises(ValueError, match=r"the rows are of 1 seeds and 6 worlds; there must be at least 2 and 3"):
        choice.fit(rows)


def test_outcomes_are_of_the_strongest_attack_that_all_seeds_learned():
    """Adversarial networks decide by the larger cue; under the two strongest attacks one seed learns nothing."""
    signs = {name: np.sign(np.round(np.log(world.amplitudes[0] / world.amplitudes[1]), 1)) for name, world in WORLDS.items()}
    rows = made(lambda columns: columns["scale"], spread=0.2)
    adversarial = rows.norm != "none"
    share = np.where(adversarial, 0.5 + 0.3 * rows.world.map(signs) + 0.01 * (rows.seed - 2), rows["shape"])
    rows = rows.assign(shape=share, texture=1 - share, robust=np.where(adversarial, 0.6, np.nan))
    place = rows.groupby(["world", "norm", "seed"]).eps.rank()
    rows.loc[adversarial & (place >= 4) & (rows.seed == 3), "robust"] = 0.1
    rows.loc[(rows.world == "inside") & adversarial, "clean"] = 0.1
    found = choice.outcomes(rows).set_index("world")
    assert "inside" not in found.index and len(found) == len(WORLDS) - 1
    for world, row in found.iterrows():
        assert row.eps == crossed.radii(WORLDS[world])[2] and row.seeds == 5
        assert row.adversarial == pytest.approx(0.6 * signs[world]) and row.low < row.adversarial < row.high
        assert row.decides == {1: "shape", -1: "texture", 0: "either"}[signs[world]]
        assert row["larger amplitude"] == ("open" if signs[world] == 0 else "right")
        assert row["shape"] == {1: "right", -1: "wrong", 0: "open"}[signs[world]]
        normal = rows[(rows.world == world) & ~adversarial]
        assert row["as normal"] == {0: "open"}.get(signs[world], "right" if (row.normal > 0) == (signs[world] > 0) else "wrong")
        assert row["shift"] == pytest.approx(row.adversarial - (normal["shape"] - normal.texture).mean())


def test_what_errors_give_is_no_choice():
    """Of a network that loses texture and then errs over all classes alike, a little is decided by shape: it has not moved to shape."""
    rows = made(lambda columns: columns["scale"], spread=0.01)
    adversarial = rows.norm != "none"
    rows = rows.assign(shape=0.0, texture=1.0)
    rows.loc[adversarial, ["shape", "texture", "neither"]] = [0.05, 0.65, 0.3]
    rows.loc[adversarial & (rows.world == "bold-fine-shape"), ["shape", "texture", "neither"]] = [0.25, 0.45, 0.3]
    found = choice.outcomes(rows).set_index("world")
    assert (found.adversarial - found.normal > 0.3).all()
    assert found["shift"].drop("bold-fine-shape").to_numpy() == pytest.approx(0)
    assert found["shift"]["bold-fine-shape"] == pytest.approx((0.2 - 0.4) / 0.6 + 1)


def test_an_attack_counts_only_with_all_seeds_of_the_normal_network():
    rows = made(lambda columns: columns["scale"], spread=0.1)
    of_world = crossed.radii(WORLDS["inside"])
    few = rows[(rows.norm == "none") | (rows.eps <= of_world[1]) | (rows.seed == 0)]
    assert choice.strongest(few)["inside"] == of_world[1] and choice.strongest(rows)["inside"] == of_world[-1]


def test_a_network_that_hides_its_gradient_has_learned_nothing():
    rows = pd.DataFrame({"clean": [0.9, 0.9, 0.9, 0.4], "norm": ["none", "linf", "linf", "none"], "robust": [np.nan, 0.02, 0.3, np.nan]})
    assert choice.learned(rows).tolist() == [True, False, True, False]
