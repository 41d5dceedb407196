"""One study of four networks that ship, on 120 test images."""

import pytest


@pytest.fixture(scope="session")
def opened_study(opened):
    return opened(test_limit=120, models=["normal", "underfit", "pgd-inf-0.1", "spatial"], subject="pgd-inf-0.1")


@pytest.fixture(scope="session")
def study(opened_study):
    return opened_study[0]


@pytest.fixture(scope="session")
def page(opened_study):
    return opened_study[1]


@pytest.fixture(scope="session")
def one(study):
    """The seventh test image and its label."""
    return next(study.images[7:8].batches(1))
