"""Studies of networks that ship, each with records in a folder of its own."""

from collections.abc import Callable

import pytest

from atviz.evidence import Study
from atviz.notebook import Page, open_study


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Study, Page]]:
    """``opened(test_limit=…, models=[…])``: the study and the page of the explore notebook."""

    def make(**parameters: object) -> tuple[Study, Page]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ATVIZ_HOME", str(tmp_path_factory.mktemp("home")))
            return open_study("11_explore", {"profile": "zoo", **parameters})

    return make
