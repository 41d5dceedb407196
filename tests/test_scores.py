"""Numbers of saliency maps over a set of images."""

import pytest
import torch

from atviz import saliency, scores
from atviz.records import Store


def test_saliency_scores_against_the_maps(tmp_path, trained, fashion):
    store, some = Store(tmp_path), fashion[:30]
    x, y = some.x.float() / 255, some.y
    leaf = x.clone().requires_grad_()
    log_p = trained(leaf).log_softmax(1).gather(1, y[:, None]).sum()
    (maps,) = torch.autograd.grad(log_p, leaf)
    for batch_size in (7, 100):
        found = scores.saliency_scores(trained, some, batch_size=batch_size)
        assert found.keys() == {"sparsity", "edges", "coarse"}
        assert found["coarse"] == pytest.approx(saliency.coarse_share(maps).numpy(), abs=1e-3)
        assert found["sparsity"] == pytest.approx(saliency.gini(maps).numpy(), abs=1e-4)
        assert found["edges"] == pytest.approx(saliency.edge_agreement(maps, x).numpy(), abs=1e-3)
    first, again = (scores.saliency_scores(trained, some, store=store) for _ in range(2))
    assert (store.computed, store.read) == (1, 1)
    assert all((first[name] == again[name]).all() and len(first[name]) == 30 for name in first)
