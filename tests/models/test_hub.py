"""Networks on the Hugging Face hub, from a hub on this machine."""

import hashlib
import http.server
import json
import threading

import pytest
import torch
from safetensors.torch import save
from torch import nn

from atviz import models
from atviz.models.libraries import quiet

with quiet():  # the libraries' deprecations are theirs
    import huggingface_hub
    import timm


def refused(reference, message, kind=ValueError):
    with pytest.raises(kind, match=message) as error:
        models.load(reference)
    assert "\n" not in str(error.value)


def saved(content, path):
    torch.save(content, path)
    return path.read_bytes()


class Hub:
    """The hub's answers for the files of a repository: HEAD and GET, with the headers that its client reads."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.name = "me/net"
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                outer.asked.append(f"{self.command} {self.path}")
                _, _, place = self.path.partition(f"/{outer.name}/resolve/")
                content = outer.files.get(place.partition("/")[2])
                self.send_response(200 if content is not None else 404)
                self.send_header("X-Repo-Commit", outer.commit)
                if content is None:
                    self.send_header("X-Error-Code", "EntryNotFound" if place else "RepoNotFound")
                else:
                    self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                if content is not None and self.command == "GET":
                    self.wfile.write(content)

            do_GET = do_HEAD

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def commit(self) -> str:
        """Another one for other files: what is cached of a commit is not asked for again."""
        return hashlib.sha1(b"".join(self.files.values())).hexdigest()


@pytest.fixture
def repository(monkeypatch, tmp_path):
    """A repository me/net on this machine, with the config of a small network and no weights yet."""
    hub = Hub()
    url = f"http://127.0.0.1:{hub.server.server_port}"
    constants = huggingface_hub.constants
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.file_download, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    pretrained = {"input_size": [3, 96, 96], "mean": [0.3, 0.4, 0.5], "std": [0.2, 0.2, 0.2], "license": "mit", "num_classes": 3}
    config = {"architecture": "test_vit", "num_classes": 3, "label_names": ["cat", "dog", "bird"], "pretrained_cfg": pretrained,
              "model_args": {"img_size": 96}}  # fmt: skip
    hub.files["config.json"] = json.dumps(config).encode()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
    hub.thread.join()


@pytest.fixture
def network():
    with quiet():
        made = timm.create_model("test_vit", num_classes=3, img_size=96).eval()
    nn.init.normal_(made.head.weight)
    return made


def test_the_hub_gives_network_preprocessing_and_classes(repository, network):
    repository.files["model.safetensors"] = save(network.state_dict())
    found = models.load("hub:me/net")
    x = torch.rand(10, 3, 96, 96)
    torch.testing.assert_close(found.module(x), network((x - torch.tensor([0.3, 0.4, 0.5]).view(3, 1, 1)) / 0.2), atol=1e-4, rtol=0)
    assert (found.name, found.classes, found.shape) == ("net", ["cat", "dog", "bird"], (3, 96, 96))
    assert (found.card["license"], found.card["architecture"], found.card["reference"]) == ("mit", "test_vit", "hub:me/net")
    assert any(line == "GET /me/net/resolve/main/model.safetensors" for line in repository.asked)
    models.load("hub:me/net@v1")
    assert any("/resolve/v1/config.json" in line for line in repository.asked)


def test_timms_weights_come_from_the_hub_and_are_of_imagenet(repository):
    repository.name = "timm/test_vit.r160_in1k"
    with quiet():
        made = timm.create_model("test_vit").eval()
    nn.init.normal_(made.head.weight)
    repository.files = {"model.safetensors": save(made.state_dict())}
    found = models.load("mine=timm:test_vit.r160_in1k")
    x = torch.rand(10, 3, 160, 160)
    torch.testing.assert_close(found.module(x), made((x - 0.5) / 0.5), atol=1e-4, rtol=0)
    assert (found.name, found.classes, found.shape) == ("mine", models.imagenet_names(), (3, 160, 160))
    assert (found.card["trained"], found.card["weights"]) == ("normally", "pretrained")


def test_the_hubs_pickle_of_tensors_is_read_and_any_other_is_not(repository, network, tmp_path, bomb):
    repository.files["pytorch_model.bin"] = saved(network.state_dict(), tmp_path / "w.bin")
    assert models.load("hub:me/net").classes == ["cat", "dog", "bird"]
    repository.files["pytorch_model.bin"] = saved({"a": bomb}, tmp_path / "w.bin")
    refused("hub:me/net", "me/net could not be loaded: it holds posix.mkdir, a Python object, which could run code")
    assert not bomb.mark.exists()


def test_what_the_hub_does_not_have_is_refused(repository, network):
    refused("hub:me/net", "me/net could not be downloaded: .*404", OSError)
    refused("hub:you/net", "you/net could not be downloaded: .*(404|401|not found)", OSError)
    repository.files["config.json"] = json.dumps({"model_type": "vit", "architectures": ["ViTForImageClassification"]}).encode()
    refused(
        "hub:me/net",
        "me/net is not in timm's layout: its config.json has no 'architecture'; save the network with timm.models.push_to_hf_hub",
    )
