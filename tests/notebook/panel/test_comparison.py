"""All networks against one slider."""

import base64
import io
from dataclasses import replace

from PIL import Image

from atviz.notebook import panel
from atviz.notebook.panel.comparison import COLUMNS

MODELS = ("normal", "underfit", "pgd-inf-0.1")


def test_comparison_marks_sorts_and_reads(study, page):
    levels = {"saturate": [2.0, 1024.0], "patch_shuffle": [2]}
    study.outcomes({"saturate": levels["saturate"]})
    computed = study.store.computed
    compared = panel.compare(study, page, levels)
    assert study.store.computed == computed
    right = study.outcomes({"saturate": [1024.0]})
    table = compared.table().set_index("network")
    for name in MODELS:
        assert table.loc[name, "at level"] == right.distorted[name, "saturate", 1024.0].mean()
        assert table.loc[name, "clean"] == study.networks[name].card["metrics"]["clean"]
    for column in COLUMNS:
        compared._sort(column)
        once = compared.table()[column].tolist()
        compared._sort(column)
        assert compared.table()[column].tolist() == once[::-1]
        assert once in (sorted(once), sorted(once, reverse=True))
    before = compared._plot.value
    compared._level.value = 2.0
    assert compared._plot.value != before
    assert compared._plot.value.count("atviz-mark") == 1
    compared._which.value = "patch_shuffle"  # of which nothing was measured
    assert "No network was measured" in compared._plot.value
    assert compared.table().empty
    with Image.open(io.BytesIO(base64.b64decode(compared._repr_mimebundle_()["image/png"]))) as picture:
        assert picture.width > 500


def test_stylized_images_are_those_of_the_study(study, page):
    study.outcomes({"stylize": [1.0]})
    assert set(panel.compare(study, page, {"stylize": [1.0]}).table().network) == set(MODELS)


def test_networks_without_a_card_and_studies_without_records_are_compared(study, page):
    study.outcomes({"saturate": [1024.0]})
    networks = type(study.networks)({name: replace(network, card={}) for name, network in study.networks.items()})
    table = panel.compare(replace(study, networks=networks), page, {"saturate": [1024.0]}).table()
    assert len(table) == 3 and table[["clean", "attacked"]].isna().all(axis=None)
    assert panel.compare(replace(study, store=None), page, {"saturate": [1024.0]}).table().empty
