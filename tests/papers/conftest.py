"""Small studies of networks that are trained for a moment."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from torch import nn

from atviz.data import Images
from atviz.evidence import Store, Study
from atviz.models import Network, Networks
from atviz.training import Plan, Trainer, profile


@pytest.fixture(scope="session")
def study_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Study]:
    """study_of(**changes): a study of 100 test images, whose networks saw 300."""
    store = Store(tmp_path_factory.mktemp("records"))

    def made(**changes: object) -> Study:
        plan = Plan(**{"profile": "smoke", "train_limit": 300, "test_limit": 100} | changes)
        return Study(Trainer(plan).networks, plan.images.test, store, plan.seed, plan.scale)

    return made


@pytest.fixture(scope="session")
def made_of() -> Callable[..., Study]:
    """made_of(images, store, **modules): a study whose first network is the baseline and whose last is the subject."""

    def made(images: Images, store: Store | None, **modules: nn.Module) -> Study:
        cards = {name: {"trained": "normally"} for name in modules} | {[*modules][-1]: {"trained": "adversarially"}}
        networks = [Network(name, module, images.classes, tuple(images.shape), cards[name]) for name, module in modules.items()]
        roles = {"baseline": networks[0].name, "subject": networks[-1].name}
        return Study(Networks.of(networks, **roles), images, store, scale=replace(profile("smoke"), saliency_images=8))

    return made
