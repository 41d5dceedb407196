"""Small studies of networks that are trained for a moment."""

from collections.abc import Callable

import pytest

from atviz.evidence import Store, Study
from atviz.training import Plan, Trainer


@pytest.fixture(scope="session")
def study_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Study]:
    """study_of(**changes): a study of 100 test images, whose networks saw 300."""
    store = Store(tmp_path_factory.mktemp("records"))

    def made(**changes: object) -> Study:
        plan = Plan(**{"profile": "smoke", "train_limit": 300, "test_limit": 100} | changes)
        return Study(Trainer(plan).networks, plan.images.test, store, plan.seed, plan.scale)

    return made
