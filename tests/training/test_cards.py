"""Model cards as tables."""

import pytest
from torch import nn

from atviz.models import Network, Networks
from atviz.training import card_table, describe, history, recipes


def network(name, *, epochs=2, **card):
    rows = [{"epoch": i + 1, "loss": 1 / (i + 1), "seconds": 1.6, "clean": 0.5, "robust": None} for i in range(epochs)]
    known = {"recipe": describe(recipes.get(name)), "history": rows, "stopped_at": None, "collapsed_at": None, "sha256": f"{name:x<64}"}
    return Network(name, nn.Flatten(), [], (1, 4, 4), known | {"metrics": {"clean": 0.87654}} | card)


@pytest.fixture
def networks():
    given = [network("normal"), network("underfit", stopped_at=90), network("pgd-inf-8", epochs=3, collapsed_at=2), network("spatial")]
    return Networks.of(given, baseline="normal", subject="pgd-inf-8")


def test_one_row_per_network_says_how_it_was_trained(networks):
    rows = card_table(networks).set_index("model")
    assert rows.index.tolist() == list(networks)
    assert rows["trained on"].tolist() == ["clean images", "clean images", "PGD L∞ ε=8/255, 20 steps", "spatial, 10 steps"]
    assert rows["training"].tolist() == ["2 epochs", "stopped at step 90", "3 epochs", "2 epochs"]
    assert rows["seconds"].tolist() == [3, 3, 5, 3]
    assert rows["clean (%)"].tolist() == [87.65] * 4
    assert rows["remark"].tolist() == ["", "", "catastrophic overfitting in epoch 2", ""]
    assert rows["sha256"].tolist() == [f"{name:x<12}"[:12] for name in networks]


def test_one_row_per_network_and_epoch(networks):
    rows = history(networks)
    assert rows[["model", "epoch"]].values.tolist() == [[n.name, e["epoch"]] for n in networks.values() for e in n.card["history"]]
    assert rows.loss.tolist()[:2] == [1, 0.5]
