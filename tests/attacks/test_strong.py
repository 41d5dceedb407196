"""The strong attack: equal to AutoAttack, and not misled by masked gradients."""

import logging
import sys

import pytest
import torch
from torch import nn

from atviz.attacks import PARTS, pgd, strong

FILE = sys.modules[strong.__module__]  # the room exports a function of this name
EPS = {"linf": 0.02, "l2": 0.4}


@pytest.fixture
def many(fashion):
    return fashion.x[:100].float() / 255, fashion.y[:100]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_against_autoattack(trained, many, norm, size, fooled):
    """Its standard version with fewer steps, queries and targets, so that it takes seconds. `python -m benchmarks strong` compares it whole."""
    published = pytest.importorskip("pyautoattack")
    x, y = many
    theirs = published.AutoAttack(trained, norm={"linf": "Linf", "l2": "L2"}[norm], eps=EPS[norm], seed=0)
    theirs.verbose, theirs.square.n_queries = False, 100
    theirs.apgd.n_iter = theirs.apgd_targeted.n_iter = theirs.fab.n_iter = 20
    theirs.apgd_targeted.n_target_classes = theirs.fab.n_target_classes = 3
    logging.disable(logging.CRITICAL)
    try:
        expected = fooled(trained, theirs.run_standard_evaluation(x, y)[0], y)
    finally:
        logging.disable(logging.NOTSET)
    x_adv = strong(trained, x, y, eps=EPS[norm], norm=norm, steps=20, targets=3, queries=100)
    found = fooled(trained, x_adv, y)
    assert 40 < expected.sum() < 85 and (found != expected).sum() <= 1
    assert (size(x_adv, x, norm) <= EPS[norm] * (1 + 1e-6)).all() and x_adv.min() >= 0 and x_adv.max() <= 1


def test_an_image_goes_through_the_parts_in_order_until_it_is_misclassified(linear, images, monkeypatch):
    """Four parts, each of which misleads the network on the first image that it gets."""
    seen = []

    def part(name):
        def attack(model, x, y, **options):
            seen.append((name, len(x)))
            return torch.cat([1 - x[:1], x[1:]])

        return attack

    for name in ("apgd", "pma", "square"):
        monkeypatch.setattr(FILE, name, part(name))
    monkeypatch.setattr(FILE, "warn_if_masked", lambda *args, **options: seen.append(options))
    model, x = linear(1, 6, 4), images(8, 1, 6)
    model.bias.data -= model.weight.sum((1, 2, 3)) / 2  # an image's negative has the opposite logits
    y = model(x).argmax(1)
    x_adv = strong(model, x, y, eps=0.1)
    assert seen == [("apgd", 8), ("apgd", 7), ("pma", 6), ("square", 5), {"targeted": True, "by_square": 1}]
    assert torch.equal(x_adv, torch.cat([1 - x[:4], x[4:]])) and len(PARTS) == 4


@pytest.mark.parametrize(("classes", "losses"), [(2, ["ce"]), (3, ["ce", "dlr"]), (4, ["ce", "targeted-dlr"])])
def test_few_classes_are_attacked_with_what_they_allow(linear, images, classes, losses, monkeypatch):
    seen, apgd = [], FILE.apgd
    monkeypatch.setattr(FILE, "apgd", lambda *given, loss, **options: seen.append(loss) or apgd(*given, loss=loss, **options))
    model, x = linear(1, 6, classes), images(8, 1, 6)
    attack = lambda: strong(model, x, model(x).argmax(1), eps=1e-4, steps=3, queries=5)
    if classes < 4:
        with pytest.warns(UserWarning, match=f"it has {classes} classes, and the targeted DLR loss needs 4"):
            attack()
    else:
        attack()
    assert seen == losses


class Quantized(nn.Sequential):
    """Sees images in eight shades: no gradient comes through."""

    def forward(self, x):
        return super().forward((x * 7).round() / 7)


class Saturated(nn.Sequential):
    """Answers with logits times 100: sure of all it says, so that the cross-entropy is flat."""

    def forward(self, x):
        return 100 * super().forward(x)


class Probable(nn.Sequential):
    """Answers with the probabilities of such logits, times 100."""

    def forward(self, x):
        return 100 * (10 * super().forward(x)).softmax(1)


def test_quantized_images_are_caught(trained, many, fooled):
    x, y = (part[:60] for part in many)
    net, eps = Quantized(trained), 0.1
    clean = fooled(net, x, y)
    assert torch.equal(fooled(net, pgd(net, x, y, eps=eps, step_size=eps / 4, steps=40), y), clean)  # as if it were robust
    sentence = (
        "gradient of 60 of 60 images is exactly zero; the Square attack, without gradients, misled it on .* that gradient attacks left"
    )
    with pytest.warns(UserWarning, match=sentence):
        found = fooled(net, strong(net, x, y, eps=eps, steps=10, queries=500), y)
    assert found.sum() > clean.sum() + 20


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (Saturated, r"the gradient of \d+ of 100 images is exactly zero"),
        (Probable, r"its output is a probability \(a softmax\) times 100, not logits; the gradient of \d+ of 100 images is exactly zero"),
    ],
)
def test_saturated_answers_are_caught(trained, many, fooled, mask, sentence):
    """PGD is blind to them; the strong attack finds what it finds without the mask."""
    (x, y), net, eps = many, mask(trained), EPS["linf"]
    options = dict(eps=eps, steps=20, targets=3, queries=100)
    by_pgd = fooled(net, pgd(net, x, y, eps=eps, step_size=eps / 4, steps=40), y).sum()
    with pytest.warns(UserWarning, match=sentence):
        found = fooled(net, strong(net, x, y, **options), y).sum()
    plain = fooled(trained, strong(trained, x, y, **options), y).sum()
    assert by_pgd < plain - 10 and abs(int(found - plain)) <= 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (dict(eps=8), "8/255"),
        (dict(norm="l1"), "norm is 'l1'"),
        (dict(steps=0), "steps is 0"),
        (dict(targets=0), "targets is 0"),
        (dict(queries=0), "queries is 0"),
    ],
)
def test_option_that_cannot_be_meant_is_refused(options, sentence, images, unused):
    with pytest.raises(ValueError, match=sentence):
        strong(unused, images(2), torch.tensor([0, 1]), **(dict(eps=0.1) | options))
