"""The training loop: one function for normal and every kind of adversarial training, on one device or many."""

from __future__ import annotations

import math
import os
import platform
import time
import warnings
from copy import deepcopy
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .. import __version__, attacks
from ..data import Images
from ..models import fast_autocast, memory_format, predict
from .devices import as_weights, make_fabric, seed_each, start_of, synchronized
from .objective import attack_of, follow, loss_of
from .recipes import Recipe
from .resume import keep, restore

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PROBE_IMAGES, PROBE_STEPS = 256, 10  # the PGD attack at the end of each epoch that shows whether robustness holds
STOP_SAMPLE, STOP_CHECKS = 1000, 20  # how often an epoch looks whether the accuracy to stop at is reached
SETTLING = 50  # last batches of an epoch, from which averaged weights take their batch-norm statistics
# fields that a description names only where they are not at their default: it makes the names of folders, and they came later
LATER = ("noise", "replays", "beta", "warmup", "ema")


class CatastrophicOverfitting(UserWarning):
    """A model resists the attack it is trained with but not one of more steps (Wong et al. 2020)."""


def fit(
    model: nn.Module,
    recipe: Recipe,
    train: Images,
    test: Images,
    *,
    seed: int = 0,
    fabric: Fabric | None = None,
    resume: Path | None = None,
) -> dict[str, Any]:
    """Train ``model`` in place by ``recipe``.

    Every epoch draws its batches, augmentation and random starts from the seed and its own number, so a run that goes on from
    ``resume`` (the file in which each finished epoch is kept, see `resume`) ends where an uninterrupted one does. Where that file is
    damaged, it goes on from the epoch before, or from the start, and warns.

    With several processes each one attacks and classifies its share of every batch. Batch norm and the gradient are those of the
    whole batch, and each image gets the crop and the random start that it has in a single process: the weights differ by rounding
    alone. Only dropout draws otherwise. The attack does not wait for other processes.

    Attacks see the network in eval mode. In Free training the perturbation comes with the gradient of the training step itself, in training
    mode; it is kept from batch to batch and begins at zero in every epoch. Where a recipe averages weights, ``history`` is of the averaged
    ones, which the model holds in the end, with batch-norm statistics of their own, from the last batches of each epoch.

    Returns:
        ``history``, one row per epoch (training loss and accuracy, clean test accuracy, robust accuracy of the probe, learning rate,
        seconds), over the images of all processes; ``collapsed_at``, the epoch of catastrophic overfitting, or None; ``stopped_at``, the
        step at which ``recipe.stop_at`` was reached, or None.

    Raises:
        FloatingPointError: the loss is no longer finite; the model holds the weights of the last finished epoch.
    """
    fabric = fabric or make_fabric()
    fabric.launch()
    batch, rank, world = recipe.batch_size, fabric.global_rank, fabric.world_size
    steps = len(train) // batch * recipe.replays  # in each epoch; with replays there are fewer epochs
    if not steps:
        raise ValueError(f"{len(train)} training images do not fill one batch of {batch}")
    if batch < world:
        raise ValueError(f"batch_size is {batch} for {world} processes; each must get an image")
    attack_of(recipe)  # refuses an unknown attack
    train = train.to(fabric.device)
    layout = memory_format(model, fabric.device)
    module = model.to(fabric.device, memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(module.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    schedule = _schedule(recipe, optimizer, steps)
    wrapped, stepping = fabric.setup(module, optimizer)
    done: dict[str, Any] = {"epoch": 0, "history": [], "collapsed_at": None, "stopped_at": None}
    parts, of = {"model": module, "optimizer": optimizer, "schedule": schedule}, {"recipe": describe(recipe), "seed": seed}
    shown = module  # what is evaluated and kept
    if recipe.ema:
        shown = parts["average"] = deepcopy(module)
    if resume is not None:  # after the setup, which gives the weights their number format
        done = restore(resume, parts, of, fabric.device) or done
    good = {name: tensor.clone() for name, tensor in shown.state_dict().items()}

    quiet = rank != 0 or bool(os.environ.get("TQDM_DISABLE"))  # one bar; a notebook's does not heed the variable by itself
    bar = tqdm(total=recipe.passes * steps, initial=done["epoch"] * steps, desc=recipe.name, unit="step", disable=quiet)
    for epoch in range(done["epoch"], recipe.passes):
        if done["stopped_at"] is not None:
            break
        start, seen, hits, total_loss = time.perf_counter(), 0, 0, 0.0
        generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
        seed_each(fabric, seed * 100_003 + epoch)
        wrapped.train()
        shown.train()
        kept: Tensor | float = 0.0  # Free's perturbation
        batches = as_weights(module, train.batches(batch, shuffle=True, augment=recipe.augment, generator=generator, share=(rank, world)))
        for step, (x, y) in enumerate(again for again in batches for _ in range(recipe.replays)):
            if step == steps:  # the last, incomplete batch
                break
            if layout is torch.contiguous_format:
                x = x.contiguous()  # streamed images are channels last
            taken = epoch * steps + step
            now, clean = recipe.at(taken / (recipe.passes * steps)), x
            attack = attack_of(now)
            if attack and not (recipe.mix and step % 2 == 0):
                with fabric.autocast():
                    x = attack(module, x, y, **start_of(now, x, fabric, generator))
            elif recipe.attack == "free":
                x = (x + kept).clamp(0, 1).requires_grad_()
            with fabric.autocast(), synchronized(module, fabric):
                natural = wrapped(clean) if recipe.attack == "trades" else None
                logits = wrapped(x)
            # Fabric averages the gradients of the processes, and their shares of a batch need not be equal
            loss = loss_of(recipe, logits, y, natural) * (len(y) * world / batch)
            # asked of all processes together, so that none waits for one that has stopped
            whole = float(fabric.all_reduce(loss.detach().clone()))  # type: ignore[arg-type]
            if not math.isfinite(whole):
                module.load_state_dict(good)
                bar.close()
                raise FloatingPointError(
                    f"the loss of {recipe.name} became {whole} in epoch {epoch + 1}, step {step + 1}, at learning rate "
                    f"{schedule.get_last_lr()[0]:.3g}; the model holds the weights of epoch {epoch}; a lower lr than {recipe.lr} may help"
                )
            fabric.backward(loss)
            if recipe.attack == "free":  # by the gradient of this very step
                assert x.grad is not None
                kept = (kept + now.step_size * x.grad.sign()).clamp(-now.eps, now.eps)
            stepping.step()
            stepping.zero_grad()
            schedule.step()
            if recipe.ema:
                follow(shown, module, recipe.ema, taken)
                if step >= steps - SETTLING:
                    with torch.no_grad(), fabric.autocast(), synchronized(shown, fabric):
                        shown(x)
            seen, hits, total_loss = seen + batch, hits + int((logits.argmax(1) == y).sum()), total_loss + whole * batch
            bar.update()
            due = (step + 1) % max(1, steps // STOP_CHECKS) == 0
            if recipe.stop_at is not None and due and _reaches(shown, test, recipe.stop_at, fabric):
                done["stopped_at"] = taken + 1
                break
        row: dict[str, Any] = {
            "epoch": epoch + 1,
            "loss": total_loss / seen,
            "train_accuracy": _sum(hits, fabric) / seen,
            "lr": schedule.get_last_lr()[0],
        }
        row |= {"clean": _accuracy(shown, test, fabric), "robust": _probe(shown, recipe, test, fabric) if recipe.adversarial else None}
        done["history"].append(row | {"seconds": time.perf_counter() - start})
        done["epoch"] = epoch + 1
        at_eps = done["history"][math.ceil(recipe.warmup * recipe.passes) :]  # in a warm-up the probe is stronger than the training
        if recipe.adversarial and done["collapsed_at"] is None and at_eps and _collapsed(at_eps):
            done["collapsed_at"] = epoch + 1
            if fabric.is_global_zero:
                warnings.warn(_collapse_message(recipe, row), CatastrophicOverfitting, stacklevel=2)
        bar.set_postfix(clean=f"{row['clean']:.3f}", robust="–" if row["robust"] is None else f"{row['robust']:.3f}")
        good = {name: tensor.clone() for name, tensor in shown.state_dict().items()}
        if resume is not None and fabric.is_global_zero:
            keep(resume, {name: part.state_dict() for name, part in parts.items()}, done, of)
    bar.close()
    if recipe.ema:
        module.load_state_dict(shown.state_dict())
    if recipe.stop_at is not None and done["stopped_at"] is None and fabric.is_global_zero:
        warnings.warn(f"{recipe.name} never reached a clean accuracy of {recipe.stop_at:.4f} in {recipe.epochs} epochs", stacklevel=2)
    return {key: done[key] for key in ("history", "collapsed_at", "stopped_at")}


def _schedule(recipe: Recipe, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.schedule == "one-cycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=recipe.passes * steps + 1, cycle_momentum=False)
    if recipe.schedule == "step":
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, [epoch * steps // recipe.replays for epoch in recipe.milestones])
    raise ValueError(f"recipe {recipe.name} has schedule {recipe.schedule!r}; it must be one-cycle or step")


def _sum(hits: int, fabric: Fabric) -> int:
    """The sum of a number over all processes."""
    return int(fabric.all_reduce(torch.tensor(hits, device=fabric.device), reduce_op="sum"))  # type: ignore[arg-type]


def _accuracy(module: nn.Module, images: Images, fabric: Fabric, *, batch: int = 500, attack: Any = None) -> float:
    """Share of images classified correctly, as they are or attacked; each process takes its share of them."""
    own = images[fabric.global_rank :: fabric.world_size]
    shown = as_weights(module, own.batches(batch, device=fabric.device))
    if attack:
        shown = ((attack(module, x, y), y) for x, y in shown)
    return _sum(int((predict(module, shown)[:, 0] == own.y.cpu()).sum()), fabric) / len(images)


def _reaches(module: nn.Module, test: Images, target: float, fabric: Fabric) -> bool:
    """Whether the accuracy on all of ``test`` is at least ``target``; a sample, which is cheap, is asked first."""
    sample = test.sample(min(STOP_SAMPLE, len(test)))
    return _accuracy(module, sample, fabric) >= target - 0.05 and _accuracy(module, test, fabric) >= target


def _probe(module: nn.Module, recipe: Recipe, test: Images, fabric: Fabric) -> float:
    """Accuracy on the first images of the test set under PGD at the recipe's own eps, or under spatial, twice the steps of half the size."""
    attack: Any = partial(attacks.pgd, eps=recipe.eps, step_size=recipe.eps / 4 if recipe.norm == "linf" else recipe.step_size,
                          steps=PROBE_STEPS, norm=recipe.norm, step=recipe.step)  # fmt: skip
    if recipe.attack == "spatial":
        attack = attack_of(replace(recipe, steps=2 * recipe.steps, step_size=recipe.step_size / 2))
    with fast_autocast(fabric.device):
        return _accuracy(module, test.sample(min(PROBE_IMAGES, len(test))), fabric, batch=128, attack=attack)


def _collapsed(history: list[dict[str, Any]]) -> bool:
    """Whether the probe fell below half of its best or of the accuracy under the training attack, while clean accuracy holds."""
    last = history[-1]
    best = max(row["robust"] for row in history)
    above = max(best, last["train_accuracy"])
    return above > 0.3 and last["robust"] < 0.5 * min(above, last["clean"])


def _collapse_message(recipe: Recipe, row: dict[str, Any]) -> str:
    probe = "twice as many steps of half the size" if recipe.attack == "spatial" else f"PGD with {PROBE_STEPS} steps at the same eps"
    return (
        f"catastrophic overfitting of {recipe.name} in epoch {row['epoch']}: it classifies {row['train_accuracy']:.1%} of the "
        f"attacked training images, but {row['robust']:.1%} under {probe}"
    )


def versions() -> dict[str, str]:
    """What a card says of the software that made it."""
    import torchvision

    return {"atviz": __version__, "python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__}


def describe(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON, without what only other recipes have: the spatial attack's fields, and those of `LATER` at their default."""
    found = asdict(recipe) | {"milestones": list(recipe.milestones)}
    idle = [field.name for field in fields(recipe) if field.name in LATER and found[field.name] == field.default]
    idle += () if recipe.attack == "spatial" else ("tv_weight", "method")
    return {name: value for name, value in found.items() if name not in idle}
