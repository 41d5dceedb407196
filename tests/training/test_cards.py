"""Model cards as tables."""

import pytest
from torch import nn

from atviz.models import Network, Networks
from atviz.training import card_table, describe, history, recipes, trained_as


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


def test_the_table_names_the_threat_models_of_later_papers_and_averaged_weights():
    names = ["normal", "fgsm-rs-8", "n-fgsm-8-ema", "free-8", "trades-8"]
    given = [network(name) for name in names] + [network("trades-4", recipe=describe(recipes.get("trades-4", steps=5)))]
    rows = card_table(Networks.of(given, baseline="normal", subject="free-8")).set_index("model")
    assert rows["trained on"].tolist()[1:] == [
        "FGSM ε=8/255, random start", "N-FGSM ε=8/255", "Free ε=8/255, 8 replays", "TRADES ε=8/255, β=6, 10 steps", "TRADES ε=4/255, β=6, 5 steps",
    ]  # fmt: skip
    assert rows["remark"].tolist() == ["", "", "weights averaged, with decay 0.995", "", "", ""]
    assert all(trained_as(n.card) == "adversarially" for n in given[1:])


def test_of_a_network_from_outside_the_table_says_what_is_known(networks):
    card = {"outside": True, "library": "timm 1", "architecture": "vit", "weights": "pretrained", "parameters": 5_717_416, "trained": "", "size": 224,
            "license": "apache-2.0", "sha256": "f" * 64, "fitted": "judged on 2 of its 1000 classes"}  # fmt: skip
    vit = Network("vit", nn.Flatten(), [], (3, 224, 224), card)
    row = card_table(Networks.of([vit], baseline="vit")).iloc[0]
    assert (row["from"], row["parameters (millions)"], row.trained, row.side) == ("timm 1", 5.717, "not known", 224)
    assert row.remark == "judged on 2 of its 1000 classes" and "seconds" not in row
    both = card_table(Networks.of([*networks.values(), vit], baseline="vit")).set_index("model")
    assert both.loc["vit", "seconds"] == both.loc["normal", "license"] == "–" and both.loc["normal", "seconds"] == 3
    assert history(Networks.of([vit], baseline="vit")).empty


@pytest.mark.parametrize(
    ("card", "trained"),
    [
        ({"recipe": {"attack": "none"}}, "normally"),
        ({"recipe": {"attack": "pgd"}}, "adversarially"),
        ({"trained": "normally"}, "normally"),
        ({}, ""),
    ],
)
def test_how_a_network_was_trained_is_read_from_its_card(card, trained):
    assert trained_as(card) == trained


def test_one_row_per_network_and_epoch(networks):
    rows = history(networks)
    assert rows[["model", "epoch"]].values.tolist() == [[n.name, e["epoch"]] for n in networks.values() for e in n.card["history"]]
    assert rows.loss.tolist()[:2] == [1, 0.5]
