"""Shared fixtures: a folder of the session's own, a few images, and models that are cheap but not trivial."""

import gc
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

# before atviz, tqdm or hypothesis look at them
os.environ["TQDM_DISABLE"] = "1"
HOME = tempfile.mkdtemp(prefix="atviz-tests-")
os.environ["ATVIZ_HOME"] = HOME
os.environ["ATVIZ_BF16"] = "0"  # the same numbers on every machine; tests of bfloat16 ask for it
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):  # more threads than cores take many times as long
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from atviz import data, models  # noqa: E402

# the same examples on every machine: a failure can be looked at again
settings.register_profile("atviz", deadline=None, max_examples=15, derandomize=True, database=None)
settings.load_profile("atviz")

with warnings.catch_warnings():  # other people's deprecations are not ours to fail on
    warnings.simplefilter("ignore")
    import captum.attr  # noqa: F401
    import torchattacks  # noqa: F401


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same global random numbers, whatever ran before it."""
    torch.manual_seed(0)


class Linear(nn.Module):
    """logits = W · x + b, in double where x is: its gradients are known in closed form."""

    def __init__(self, channels: int, side: int, classes: int, *, seed: int = 0, scale: float = 1.0) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(scale * torch.randn(classes, channels, side, side, generator=draw))
        self.bias = nn.Parameter(torch.randn(classes, generator=draw))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", x, self.weight.to(x)) + self.bias.to(x)


@pytest.fixture(scope="session")
def linear() -> Callable[..., nn.Module]:
    return Linear


@pytest.fixture(scope="session")
def fashion() -> data.Images:
    """600 test images of Fashion-MNIST."""
    return data.load("fashion", "test", limit=600)


@pytest.fixture(scope="session")
def _trained() -> nn.Module:
    train = data.load("fashion", limit=2000)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.build("small-w4", num_classes=10, in_channels=1, image_size=28, mean=[0.29], std=[0.35])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=161)
    draw = torch.Generator().manual_seed(0)
    for _ in range(4):
        for x, y in train.batches(50, shuffle=True, generator=draw):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            schedule.step()
    optimizer.zero_grad()
    return model.eval()


@pytest.fixture
def trained(_trained: nn.Module) -> nn.Module:
    """A small network that gets about 70 % of Fashion-MNIST right; a copy, so that no test can spoil another's."""
    copy = models.build("small-w4", num_classes=10, in_channels=1, image_size=28)
    copy.load_state_dict(_trained.state_dict())
    return copy.eval()


@pytest.fixture
def mixed() -> nn.Module:
    """A network for (N, 1, H, W) and three classes, in mixed modes, partly frozen, with gradients of an earlier step."""
    model = nn.Sequential(models.build("small-w4", num_classes=3, in_channels=1), nn.Dropout(0.5)).train()
    model[0].network.bn1.eval()
    model[0].network.layer3.eval()
    model[0].network.layer2.requires_grad_(False)
    for parameter in model[0].network.fc.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model


@pytest.fixture(scope="session")
def untouched() -> Callable[[nn.Module], AbstractContextManager[None]]:
    """``with untouched(model)``: modes, parameters, buffers, ``requires_grad`` and ``.grad`` are afterwards as before."""

    def everything(model: nn.Module) -> dict[str, object]:
        found: dict[str, object] = {f"mode of {name}": module.training for name, module in model.named_modules()}
        found |= {f"value of {name}": tensor.clone() for name, tensor in model.state_dict().items()}
        for name, parameter in model.named_parameters():
            found[f"requires_grad of {name}"] = parameter.requires_grad
            found[f"grad of {name}"] = None if parameter.grad is None else parameter.grad.clone()
        return found

    @contextmanager
    def check(model: nn.Module) -> Iterator[None]:
        before = everything(model)
        yield
        after = everything(model)
        assert after.keys() == before.keys()
        for name, value in after.items():
            was = before[name]
            assert torch.equal(value, was) if isinstance(value, Tensor) and isinstance(was, Tensor) else value == was, name

    return check


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator["Loopback"]:
    """A web server on this machine that answers with what `files` holds, and 404 to everything else."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # a machine's own proxy does not know our server
    server = Loopback()
    yield server
    server.close()
    if server.refused:
        gc.collect()  # in this test's own time, where the warning is ignored


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # side by side by files, whose fixtures are then made once; what looks at the smoke run, which takes minutes, stays together
        group = "smoke" if "smoke_run" in getattr(item, "fixturenames", ()) else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
        if "loopback" in getattr(item, "fixturenames", ()):
            # urllib leaves the socket of an answer 404 to the garbage collector, which warns of it
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


class Loopback:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.refused = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                body = outer.files.get(self.path.lstrip("/"))
                if body is None:
                    outer.refused += 1
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="session")
def smoke_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("smoke")


@pytest.fixture(scope="session")
def smoke_run(smoke_home: Path) -> Path:
    """The folder of `atviz run --profile smoke`: every notebook executed by papermill, on networks that are trained for a moment."""
    command = [sys.executable, "-c", "from atviz.app.cli import app; app()", "run", "--profile", "smoke", "--name", "smoke"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, env={**os.environ, "ATVIZ_HOME": str(smoke_home)})
    assert done.returncode == 0, done.stdout + done.stderr
    return smoke_home / "results" / "smoke"
