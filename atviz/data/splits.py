"""The training and the test images of one data set."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property

from .images import Images
from .sources import load


@dataclass(frozen=True)
class Splits:
    """The two splits of a data set. Each is loaded when it is first asked for, and then kept.

    ``name``, ``size`` and the two limits are arguments of `load`, which also says what is raised.

    >>> images = Splits("shapetex", size=16, test_limit=10)
    >>> len(images.test), images.test.shape
    (10, (3, 16, 16))
    """

    name: str
    _: KW_ONLY
    size: int | None = None
    train_limit: int | None = None
    test_limit: int | None = None

    @cached_property
    def train(self) -> Images:
        return load(self.name, "train", size=self.size, limit=self.train_limit)

    @cached_property
    def test(self) -> Images:
        return load(self.name, "test", size=self.size, limit=self.test_limit)
