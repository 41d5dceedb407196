"""What ships of the controls can be read without measuring it again, and says what the worlds say."""

import json

import pandas as pd

from atviz import shipped
from atviz.data import shapetex
from atviz.evidence import Store, controls, crossed, dose_curves, fourier_heat, publishing
from atviz.evidence.across import by_seed, overall

FOLDER = shipped("checkpoints", "controls")


def test_the_quick_profile_reads_its_records_and_measures_nothing(tmp_path):
    store, networks = Store(tmp_path, FOLDER / "records"), controls.grid()
    few, copies = controls.SALIENCY["quick"]
    agree, conflict = (shapetex(controls.IMAGES["quick"], cue=cue, seed=1) for cue in ("both", "conflict"))
    read = controls.readings(networks, agree, saliency_images=few, copies=copies, store=store)
    where = controls.region_table(networks, conflict, n=few, copies=copies, store=store)
    poles = controls.poles(networks)
    doses = dose_curves(poles, agree.images, store=store)
    heat = [fourier_heat(of[0], agree.images[:few], norm=controls.NORM, store=store) for of in poles.values()]
    assert store.computed == 0 and store.read == 2 * len(networks) + 1 + 3 * len(poles) + len(poles)
    assert set(read.network) == set(where.network) - {"uniform map"} and set(doses.model) == set(poles)
    assert all(0 <= values.min() < values.max() <= 1 for values in heat)
    assert len(list((FOLDER / "records").iterdir())) == store.read  # none is of another version


def test_records_are_of_the_networks_as_they_ship():
    """One network is measured again: its numbers differ by rounding alone."""
    (network,) = (n for n in controls.grid() if n.label == "pgd-inf-0.01-s1")
    agree = shapetex(controls.IMAGES["quick"], seed=1)
    given = {"saliency_images": controls.SALIENCY["quick"][0], "copies": controls.SALIENCY["quick"][1]}
    kept, anew = (
        controls.readings([network], agree, store=store, **given).set_index("instrument").value
        for store in (Store(FOLDER / "nothing", FOLDER / "records"), None)
    )
    steady = [name for name in kept.index if "instab" not in name and "channel" not in name]
    pd.testing.assert_series_equal(kept[steady], anew[steady], atol=0.02, rtol=0.02)


def test_each_verdict_has_that_of_the_worlds_beside_it(tmp_path, monkeypatch):
    rows, read = crossed.rows(crossed.CROSSED), crossed.rows(crossed.READINGS)
    expected = overall(by_seed(rows, read)).set_index("instrument")
    shipped_record = json.loads((FOLDER / "verdicts.json").read_text())["instruments"]
    for name, row in expected.iterrows():
        assert shipped_record[name]["worlds"] == {key: row[key] for key in ("verdict", "reliable_in", "worlds")}
    path = tmp_path / "verdicts.json"
    path.write_text(json.dumps({"instruments": {name: {} for name in expected.index}}))
    publishing.mark_worlds(path)
    assert json.loads(path.read_text())["instruments"]["median_filter-1"]["worlds"] == shipped_record["median_filter-1"]["worlds"]
    monkeypatch.setattr(crossed, "rows", lambda which, experiment=None: pd.DataFrame())
    path.write_text(json.dumps({"instruments": {"median_filter-1": {}}}))
    publishing.mark_worlds(path)
    assert json.loads(path.read_text()) == {"instruments": {"median_filter-1": {}}}


def test_old_records_are_replaced(tmp_path):
    (tmp_path / "old.json").write_text("{}")
    networks = controls.grid([0.01], [0], profile="smoke")
    publishing.keep_records(networks, tmp_path, "smoke")
    assert not (tmp_path / "old.json").exists()
    good, bad = Store(tmp_path).examined()
    assert (good, bad) == (2 * len(networks) + 1 + 4 + 4, [])
