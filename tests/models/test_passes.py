"""Passes in eval mode: predictions, and the folded network, which is the network up to rounding or the network itself."""

import gc
import subprocess
import sys
import weakref

import pytest
import torch
from torch import nn

from atviz import attacks, models, saliency
from atviz.models import passes


def image(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def test_predict_against_a_plain_loop():
    model, x = models.build("small-w4", num_classes=5), image(23, 3, 16, 16)
    model.network.layer1.eval()
    before, state = [module.training for module in model.modules()], models.fingerprint(model)
    found = models.predict(model, ((part, torch.zeros(len(part))) for part in x.split(5)), topk=3)
    assert [module.training for module in model.modules()] == before and models.fingerprint(model) == state
    logits = model.eval()(x)
    naive = torch.tensor([sorted(range(5), key=lambda c: -row[c])[:3] for row in logits.tolist()])
    assert found.dtype == torch.int64 and torch.equal(found, naive)


def test_predict_judges_in_fp32_and_leaves_gradients_on():
    seen = []

    class Spy(nn.Linear):
        def forward(self, x):
            out = super().forward(x)
            seen.append((out.dtype, torch.is_grad_enabled()))
            return out

    def batches():
        assert torch.is_grad_enabled()  # an attack may run here
        yield torch.ones(2, 4), torch.zeros(2)

    with torch.autocast("cpu", torch.bfloat16):
        models.predict(Spy(4, 2), batches())
    assert seen == [(torch.float32, False)]


def test_predict_of_nothing_is_empty():
    assert models.predict(nn.Linear(4, 2), [], topk=2).shape == (0, 2)


def trained(arch, channels=3, side=32, **options):
    """A network whose batch normalizations are far from the identity."""
    torch.manual_seed(0)
    model = models.build(arch, num_classes=5, in_channels=channels, image_size=side, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in [
                (module.weight, 0.5, 1.5),
                (module.bias, -1, 1),
                (module.running_mean, -1, 1),
                (module.running_var, 0.5, 2),
            ]:
                nn.init.uniform_(tensor, low, high)
    return model.double()


def gradient(network, x):
    leaf = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(network(leaf).log_softmax(1)[:, 1].sum(), leaf)
    return found


@pytest.mark.parametrize(
    ("arch", "channels", "side", "options"),
    [
        ("small-w4", 1, 28, {"mean": [0.3], "std": [0.2]}),
        ("resnet18-w4", 3, 96, {}),
        ("resnet50-w4", 3, 32, {"standardize": True}),
        ("alexnet_bn-w4", 3, 32, {}),
    ],
)
def test_logits_and_gradients_are_those_of_the_network(arch, channels, side, options):
    model, x = trained(arch, channels, side, **options), image(3, channels, side, side).double()
    network = models.folded(model, x)
    assert network is not model and model.training
    with models.evaluating(model):
        assert torch.allclose(network(x), model(x), rtol=1e-9, atol=1e-9)
        assert torch.allclose(gradient(network, x), gradient(model, x), rtol=1e-7, atol=1e-10)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in passes._KNOWN[model].graph.modules())


def test_the_weights_are_those_of_now():
    model, x = trained("small-w4"), image(3, 3, 32, 32).double()
    models.folded(model, x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(x).square().sum().backward()  # new running statistics, too
    optimizer.step()
    model.network.fc.weight.data *= 2
    model.network.conv1.weight.data += 0.1
    with models.evaluating(model):
        assert torch.allclose(models.folded(model, x)(x), model(x), rtol=1e-9)


def test_an_exchanged_layer_and_another_type_are_seen():
    model, x = trained("small-w4"), image(3, 3, 32, 32).double()
    models.folded(model, x)
    model.network.fc = nn.Linear(64 // 4, 7).double()
    assert models.folded(model, x)(x).shape == (3, 7)
    model.float()
    assert models.folded(model, x.float())(x.float()).dtype == torch.float32


class Scaled(nn.Module):
    """What it computes depends on an attribute that is neither a layer nor a weight, and on a weight of its own."""

    def __init__(self):
        super().__init__()
        self.conv, self.scale, self.shift = nn.Conv2d(1, 2, 1), 1.0, nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.scale * self.conv(x).mean((2, 3)) + self.shift


def test_an_attribute_of_ones_own_is_seen():
    model, x = Scaled().eval(), image(2, 1, 4, 4)
    assert models.folded(model, x) is not model
    model.scale = 3.0
    assert torch.allclose(models.folded(model, x)(x), model(x))
    model.shift = nn.Parameter(torch.ones(1))
    assert torch.allclose(models.folded(model, x)(x), model(x))


class Shared(nn.Module):
    """One convolution called twice, before two normalizations, and one whose output is read twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.one, self.other = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.BatchNorm2d(2)
        self.last, self.norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)
        for norm in (self.one, self.other, self.norm):
            nn.init.normal_(norm.running_mean)
            nn.init.normal_(norm.bias)

    def forward(self, x):
        x = self.other(self.conv(torch.relu(self.one(self.conv(x)))))
        x = self.last(x)
        return (x + self.norm(x)).mean((2, 3))


def test_layers_that_are_used_twice():
    model, x = Shared().double().eval(), image(4, 2, 8, 8).double()
    network = models.folded(model, x)
    assert network is not model and torch.allclose(network(x), model(x), rtol=1e-9)
    left = [module for module in passes._KNOWN[model].graph.modules() if isinstance(module, nn.BatchNorm2d)]
    assert left == [model.norm]  # its convolution has a second reader


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)

    def forward(self, x):
        return self.conv(x + torch.randn(x.shape[1:])).mean((2, 3))


class Branching(Noisy):
    def forward(self, x):
        return self.conv(x if x.mean() > 0.5 else 1 - x).mean((2, 3))


def hooked():
    model = trained("small-w4")
    model.network.layer1.register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


@pytest.mark.parametrize("make", [Noisy, Branching, nn.Flatten, hooked])
def test_what_cannot_be_folded_is_used_as_it_is(make):
    model = make()
    x = image(2, 3 if make is hooked else 1, 32, 32).to(next(model.parameters(), torch.zeros(())).dtype)
    assert models.folded(model, x) is model and models.folded(model, x) is model


def test_nothing_is_changed_and_nothing_is_held():
    model, x = trained("small-w4").float(), image(2, 3, 32, 32)
    before, random = models.fingerprint(model), torch.get_rng_state()
    models.folded(model, x)
    assert models.fingerprint(model) == before and torch.equal(torch.get_rng_state(), random)
    assert all(parameter.requires_grad for parameter in model.parameters()) and model.training
    there = weakref.ref(model)
    del model
    gc.collect()
    assert there() is None


def test_predictions_are_those_of_the_network():
    model, x = trained("small-w8").float().eval(), image(200, 3, 32, 32)
    found = models.predict(model, [(part, part) for part in x.split(64)])[:, 0]
    assert torch.equal(found, model(x).argmax(1))


class Hungry(nn.Module):
    """A network for whose batches memory suffices up to a size; it counts its calls."""

    def __init__(self, most, error=None):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.most, self.error, self.asked = models.build("small-w4", num_classes=3, image_size=8).eval(), most, error, []

    def forward(self, x):
        self.asked.append(len(x))
        if len(x) > self.most:
            raise self.error
        return self.net(x)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
]
USES = {
    "predictions": lambda net, x, y: models.predict(net, [(x, y)]),
    "PGD": lambda net, x, y: attacks.pgd(net, x, y, eps=0.1, step_size=0.05, steps=2, random_start=True, seed=0),
    "PGD that stops early": lambda net, x, y: attacks.pgd(net, x, y, eps=0.1, step_size=0.05, steps=2, early_stop=True),
    "gradient": saliency.grad,
    "SmoothGrad": lambda net, x, y: saliency.smooth_grad(net, x, y, n=4, bf16=False),
    "Integrated Gradients": lambda net, x, y: saliency.integrated_gradients(net, x, y, steps=4, bf16=False),
}


@pytest.mark.parametrize("error", ERRORS, ids=["GPU", "Python", "CPU"])
@pytest.mark.parametrize("use", USES)
def test_where_memory_does_not_suffice_the_batch_is_halved_and_the_result_is_the_same(use, error):
    x, y = image(13, 3, 8, 8), torch.arange(13) % 3
    expected = USES[use](Hungry(10**9), x, y)
    net = Hungry(4, error)
    with pytest.warns(RuntimeWarning, match="memory does not suffice for a whole batch; it is taken in halves, with the same result"):
        found = USES[use](net, x, y)
    assert torch.equal(found, expected) if use == "predictions" else torch.allclose(found, expected, atol=1e-5)
    assert max(net.asked) > 4


def test_a_single_image_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError), pytest.warns(RuntimeWarning):
        models.predict(Hungry(0, ERRORS[0]), [(image(2, 3, 8, 8), torch.zeros(2))])


def test_another_error_is_not_taken_for_it():
    net = Hungry(4, RuntimeError("a mistake of the network"))
    with pytest.raises(RuntimeError, match="a mistake"):
        models.predict(net, [(image(9, 3, 8, 8), torch.zeros(9))])


def test_real_memory_that_runs_out():
    """The process may take 200 MB more; the activations of the batch are 400 MB."""
    code = """
import resource, torch, warnings
from torch import nn
from atviz import attacks, models, saliency
torch.set_num_threads(1)
net = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
x = torch.rand(400, 1, 64, 64)
batches = [(part, part) for part in x.split(10)]
expected = models.predict(net, batches)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 200_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    found = models.predict(net, [(x, x)])
assert torch.equal(found, expected)
print(len({str(w.message) for w in told}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n", done.stderr
