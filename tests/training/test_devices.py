"""Two processes against one: the same weights, statistics and images; how they are started, stopped and resumed."""

import os
import runpy
import subprocess
import sys
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from atviz import attacks, data, models, training
from atviz.attacks.ball import random_delta
from atviz.training import devices, recipes

# the same file in one process, which imports it, and in two, which it starts itself; what each process finds lies in a file of its own
SCRIPT = """
import sys
import warnings
from pathlib import Path
import torch
from torch import nn
from atviz import data, training
from atviz.training import loop, recipes

ASKED = {"normal": {}, "fgsm-0.1": {"mix": True, "augment": "flip", "schedule": "step", "milestones": (1,)},
         "pgd-inf-0.1": {"steps": 3, "random_start": True}, "pgd-l2-2": {"steps": 2, "random_start": True, "augment": None},
         "n-fgsm-0.1-ema": {"warmup": 0.7}, "free-0.1": {"replays": 2, "epochs": 4}, "trades-0.1": {"steps": 2}}
SETS = data.load("fashion", "train", limit=100, size=12), data.load("fashion", "test", limit=51, size=12)


def small():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, stride=2), nn.BatchNorm2d(6, momentum=None), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(96, 10), nn.BatchNorm1d(10, affine=False))


def fit(name, fabric, **given):
    # 33 images are 17 and 16: the shares of a batch are not equal
    recipe = recipes.get(name, **{"epochs": 2, "batch_size": 33} | ASKED[name])
    return training.fit(model := small(), recipe, *SETS, fabric=fabric, **given), model


def measure(processes, folder):
    fabric, found = training.make_fabric(accelerator="cpu", devices=processes, precision="64-true"), {}
    attack_of, calls = loop.attack_of, []

    def attack_twice(recipe):
        attack = attack_of(recipe)

        def attacked(*given, **options):
            # the first process alone attacks once more: an attack that waited for the second one would never end
            if not calls and processes > 1 and fabric.is_global_zero:
                attack(*given, **options)
            calls.append(len(given[1]))
            return attack(*given, **options)

        return attack and attacked

    loop.attack_of = attack_twice
    for name in ASKED:
        seen = []
        with warnings.catch_warnings(), nn.modules.module.register_module_forward_pre_hook(
            lambda module, given: seen.append(given[0].clone()) if isinstance(module, nn.Sequential) and module.training else None
        ):
            warnings.simplefilter("ignore", training.CatastrophicOverfitting)
            report, model = fit(name, fabric)
        found[name] = {"state": model.state_dict(), "history": report["history"], "seen": seen, "layers": [type(m).__name__ for m in model]}
    loop.attack_of = attack_of

    class Interrupted(Exception):
        pass

    def stop(fabric, seed):
        if seed == 1:
            raise Interrupted

    seed_each, loop.seed_each, kept = loop.seed_each, stop, Path(folder) / f"{processes}.training"
    try:
        fit("normal", fabric, resume=kept)
    except Interrupted:
        loop.seed_each = seed_each
        fabric.barrier()
        report, model = fit("normal", fabric, resume=kept)
    found["resumed"] = {"state": model.state_dict(), "epochs": len(report["history"])}

    model = small()
    try:
        training.fit(model, recipes.get("normal", epochs=2, batch_size=33, lr=1e300), *SETS, fabric=fabric)
    except FloatingPointError as error:
        found["error"], found["state"] = str(error), model.state_dict()
    torch.save(found, f"{folder}/{processes}-{fabric.global_rank}.pt")


if __name__ == "__main__":
    measure(2, sys.argv[1])
"""


@contextmanager
def started(*command, **environment):
    """Output and exit status of a program that runs meanwhile: ``wait()`` returns them."""
    given = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", **environment}
    process = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=given)

    def wait():
        said, _ = process.communicate(timeout=240)
        return said, process.returncode

    try:
        yield wait
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process found, and what each of two found."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "script.py").write_text(SCRIPT)
    with started(folder / "script.py", folder) as wait:
        runpy.run_path(str(folder / "script.py"))["measure"](1, folder)
        said, status = wait()
    assert status == 0, said
    return [torch.load(folder / name, weights_only=True) for name in ("1-0.pt", "2-0.pt", "2-1.pt")]


NAMES = ["normal", "fgsm-0.1", "pgd-inf-0.1", "pgd-l2-2", "n-fgsm-0.1-ema", "free-0.1", "trades-0.1"]
# forward passes in training mode: with replays 2 of 2 for each batch, for TRADES also of clean images, and of averaged weights for their statistics
PASSES = {"free-0.1": 12, "trades-0.1": 12, "n-fgsm-0.1-ema": 12}


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_give_the_weights_and_statistics_of_one(found, name):
    single, *both = (part[name]["state"] for part in found)
    for state in both:
        assert state.keys() == single.keys() and all(tensor.dtype in (torch.float64, torch.int64) for tensor in state.values())
        for key, tensor in state.items():
            torch.testing.assert_close(tensor, single[key], rtol=1e-9, atol=1e-10, msg=lambda said, key=key: f"{key}: {said}")
    assert all(torch.equal(both[0][key], both[1][key]) for key in single)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_see_the_images_of_one_step_by_step(found, name):
    single, first, second = (part[name]["seen"] for part in found)
    assert len(single) == len(first) == len(second) == PASSES.get(name, 6)
    for whole, one, two in zip(single, first, second, strict=True):
        assert (len(whole), len(one), len(two)) == (33, 17, 16)
        if name == "normal":  # exactly: pixels, crops and mirroring
            assert torch.equal(whole[0::2], one) and torch.equal(whole[1::2], two)
        else:  # attacked: with their random starts
            assert (whole[0::2] - one).abs().max() < 1e-9 and (whole[1::2] - two).abs().max() < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_the_history_is_over_the_images_of_all_processes(found, name):
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in part[name]["history"]] for part in found]
    assert rows[1] == rows[2]
    for one, two in zip(rows[0], rows[1], strict=True):
        assert one["robust"] == two["robust"] and (one["robust"] is None) == (name == "normal")
        assert all(one[key] == pytest.approx(two[key], rel=1e-9) for key in one.keys() - {"robust"})


def test_the_network_is_plain_afterwards(found):
    assert {tuple(part[name]["layers"]) for part in found for name in NAMES} == {tuple(found[0]["normal"]["layers"])}
    assert "BatchNorm2d" in found[1]["normal"]["layers"]


def test_an_interrupted_training_of_two_goes_on(found):
    for part in found:
        assert part["resumed"]["epochs"] == 2
        assert all(torch.equal(tensor, part["normal"]["state"][key]) for key, tensor in part["resumed"]["state"].items())


def test_a_loss_that_is_not_finite_ends_all_processes(found):
    assert all("normal became" in part["error"] and "a lower lr" in part["error"] for part in found)
    assert all(torch.isfinite(tensor).all() for part in found for tensor in part["state"].values())
    assert found[1]["error"] == found[2]["error"]


ATVIZ = "from atviz.app.cli import app; app()"


def test_torchrun_trains_one_network_and_reads_it_again(tmp_path):
    (tmp_path / "atviz").write_text(ATVIZ)
    given = ["normal", "--profile", "smoke", "--train-limit", 100, "--test-limit", 40, "--epochs", 1, "--accelerator", "cpu"]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, tmp_path / "atviz", "train", *given, "--devices", 2]
    with started(*command, "--strategy", "ddp", ATVIZ_HOME=str(tmp_path)) as wait:
        plan = training.Plan(profile="smoke", train_limit=100, test_limit=40, epochs=1, seed=0)
        network = training.Trainer(plan, fabric=training.make_fabric(accelerator="cpu", precision="32-true")).obtain("normal")
        said, status = wait()
    assert status == 0 and said.count("normal: clean accuracy") == 1, said
    (folder,) = (tmp_path / "checkpoints" / "local").glob("*-normal-*")
    assert folder.name == training.Trainer(plan).folder("normal").name
    state = models.load(folder).module.state_dict()
    for key, tensor in network.module.cpu().state_dict().items():
        torch.testing.assert_close(state[key], tensor, rtol=1e-3, atol=1e-4)


# --- what is refused


TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
SLURM = {
    "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NODEID": "0", "SLURM_NNODES": "1",
    "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "7",
}  # fmt: skip


@pytest.mark.parametrize(("name", "variables"), [("torchrun", TORCHRUN), ("Slurm", SLURM)])
def test_a_process_of_several_knows_its_rank(monkeypatch, name, variables):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    fabric = training.make_fabric(accelerator="cpu", devices=2, precision="32-true")
    assert (fabric.global_rank, fabric.world_size) == (1, 2)
    with pytest.raises(ValueError, match=f"{name} has started 2 processes, but devices is 1 and num_nodes 1"):
        training.make_fabric(accelerator="cpu")


@pytest.mark.parametrize("strategy", ["fsdp", "ddp_spawn", "dp", "fastest"])
def test_a_strategy_that_cannot_be_is_refused(strategy):
    with pytest.raises(ValueError, match=f"strategy is '{strategy}'; it must be one of Fabric's auto, ddp"):
        training.make_fabric(accelerator="cpu", strategy=strategy)


def test_fewer_images_than_processes_are_refused():
    fabric = SimpleNamespace(launch=lambda: None, global_rank=0, world_size=8)
    images = data.load("fashion", limit=20)
    with pytest.raises(ValueError, match="batch_size is 5 for 8 processes"):
        training.fit(nn.Linear(1, 1), recipes.get("normal", batch_size=5), images, images, fabric=fabric)


# --- the parts


def of_two(kind="cpu", rank=0):
    return SimpleNamespace(world_size=2, global_rank=rank, device=torch.device(kind))


@pytest.mark.parametrize(("kind", "name"), [("cuda", "SyncBatchNorm"), ("cpu", "_TogetherOnCpu")])
def test_batch_norm_is_replaced_and_put_back(kind, name):
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.BatchNorm1d(8))
    before, x = [*model], torch.rand(4, 1, 2, 2)
    names, expected = list(model.state_dict()), model.eval()(x)
    with pytest.raises(KeyError), devices.synchronized(model, of_two(kind)):
        assert [type(model[i]).__name__ for i in (1, 3)] == [name] * 2
        assert torch.equal(model(x), expected)  # in eval mode, without any other process
        assert list(model.state_dict()) == names
        raise KeyError
    assert [*model] == before and [type(model[i]) for i in (1, 3)] == [nn.BatchNorm2d, nn.BatchNorm1d]
    assert not any("process_group" in vars(layer) for layer in model)
    with devices.synchronized(model, SimpleNamespace(world_size=1)):
        assert type(model[1]) is nn.BatchNorm2d


def test_an_unknown_batch_norm_is_refused():
    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(TypeError, match="Own cannot be computed over several processes"), devices.synchronized(Own(2), of_two()):
        pass


@pytest.mark.parametrize("given", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"dtype": torch.float32}])
def test_batch_norm_of_a_single_process_is_torchs(monkeypatch, given):
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)
    given = {"dtype": torch.float64, **given}
    plain, together = nn.BatchNorm2d(3, **given), nn.BatchNorm2d(3, **given)
    together.__class__ = devices._TogetherOnCpu
    exact = dict(rtol=1e-9, atol=1e-12) if given["dtype"] == torch.float64 else dict(rtol=1e-4, atol=1e-5)
    for _ in range(3):
        x = (5 + 2 * torch.randn(7, 3, 4, 5)).to(given["dtype"]).requires_grad_()
        again = x.detach().clone().requires_grad_()
        a, b = plain(x), together(again)
        weights = torch.randn_like(a)
        (a * weights).sum().backward()
        (b * weights).sum().backward()
        torch.testing.assert_close(b, a, **exact)
        torch.testing.assert_close(again.grad, x.grad, **exact)
    for (name, one), two in zip(plain.state_dict().items(), together.state_dict().values(), strict=True):
        torch.testing.assert_close(two, one, **exact, msg=name)
    together.eval()
    half = torch.rand(4, 3, 2, 2).bfloat16()
    assert deepcopy(together).train()(half).dtype == torch.bfloat16
    torch.testing.assert_close(together.eval()(x), plain.eval()(x), **exact)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_image_has_the_random_start_of_a_single_process(norm):
    recipe = recipes.Recipe("r", attack="pgd", norm=norm, eps=0.3, random_start=True, batch_size=5)
    draw, x = lambda: torch.Generator().manual_seed(4), torch.rand(5, 1, 3, 3)
    whole = random_delta(x, 0.3, norm, draw())
    for rank in (0, 1):
        found = devices.start_of(recipe, x[rank::2], of_two(rank=rank), draw())["random_start"]
        assert torch.equal(found, whole[rank::2])
    alone = SimpleNamespace(world_size=1, global_rank=0)
    assert torch.equal(devices.start_of(recipe, x, alone, draw())["random_start"], whole)
    assert devices.start_of(recipes.get("spatial"), x, alone, draw()) == {}
    model, y, given = nn.Flatten(), torch.arange(5), dict(eps=0.3, step_size=0.1, steps=2, norm=norm)
    expected = attacks.pgd(model, x, y, **given, random_start=True, generator=draw())
    assert torch.equal(attacks.pgd(model, x, y, **given, random_start=whole), expected)


def test_the_start_is_uniform_noise_of_twice_eps_for_n_fgsm_and_small_normal_noise_for_trades():
    x = torch.full((50, 1, 8, 8), 0.5)
    for name, spread, most in (("n-fgsm-0.1", 0.2 / 3**0.5, 0.2), ("fgsm-rs-0.1", 0.1 / 3**0.5, 0.1), ("trades-0.1", 0.001, 0.006)):
        recipe, draw = recipes.get(name, batch_size=50), lambda: torch.Generator().manual_seed(4)
        whole = devices.start_of(recipe, x, SimpleNamespace(world_size=1, global_rank=0), draw())["random_start"]
        assert whole.std().item() == pytest.approx(spread, rel=0.03) and 0.8 * min(most, 4 * spread) < whole.abs().max() <= most
        for rank in (0, 1):
            assert torch.equal(devices.start_of(recipe, x[rank::2], of_two(rank=rank), draw())["random_start"], whole[rank::2])
    # also where the radius is still zero the numbers are drawn, in one process as in many
    generator = torch.Generator().manual_seed(4)
    assert not devices.start_of(replace(recipe, attack="pgd", eps=0.0), x, of_two(), generator)["random_start"].any()
    assert not torch.equal(generator.get_state(), torch.Generator().manual_seed(4).get_state())


def test_processes_draw_dropout_of_their_own():
    drawn = []
    for rank in (0, 1, 0):
        devices.seed_each(of_two(rank=rank), 3)
        drawn.append(nn.functional.dropout(torch.ones(64)))
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])
    before = torch.get_rng_state()
    devices.seed_each(SimpleNamespace(world_size=1), 3)
    assert torch.equal(before, torch.get_rng_state())
