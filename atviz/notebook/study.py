"""What a notebook opens: the study and the page that its parameters describe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..evidence import Study, store_of_home
from ..models import Network
from ..papers.itazuri import IMAGENET_MEAN
from ..training import Trainer
from .page import Page
from .settings import Settings


def study_of(settings: Settings, *, mean: Sequence[float] = ()) -> Study:
    """The study of settings: networks that have no checkpoint are trained. Its ``others`` are the seeds that have been trained already.

    ``mean`` is what colors are reversed about, `mean_of` by default.
    """
    images = settings.images.test
    stylizer = settings.stylizer(max(images.shape[1:]))  # first: it refuses styles and networks that are not there
    trainer = Trainer(settings)
    networks = trainer.networks
    material = {"stylizer": stylizer, "mean": tuple(round(float(value), 4) for value in mean) or mean_of(settings, networks)}
    study = Study(networks, images, store_of_home(), settings.seed, settings.scale, material)
    return replace(study, others=[replace(study, networks=others) for others in trainer.retrained()])


def mean_of(settings: Settings, networks: Mapping[str, Network]) -> tuple[float, ...]:
    """What colors are reversed about: the ImageNet mean for ImageNet, as in Itazuri et al. (2019), else the mean of the training images.

    In the profile ``zoo`` that mean is in the model card of a network. Where atviz trains nothing, it is the mean of the test images. To
    four decimals.
    """
    trained = [networks[name].card for name in settings.recipes if name in networks]
    held = settings.profile == "zoo" and next((card["model"]["mean"] for card in trained if card["model"].get("mean")), None)
    images = settings.images
    mean = IMAGENET_MEAN if settings.kind == "imagenet" else held or (images.train if trained else images.test).channel_stats()[0]
    return tuple(round(float(value), 4) for value in mean)


def open_page(name: str, parameters: Mapping[str, Any]) -> Page:
    """The page that a notebook's parameters describe: those of its variables, as in ``globals()``, that are `Settings`, and ``out``.

    Raises:
        ValueError: in one sentence, settings that cannot be.
    """
    return Page(name, Settings.of(parameters), parameters.get("out", ""))


def open_study(name: str, parameters: Mapping[str, Any]) -> tuple[Study, Page]:
    """The study and the page that a notebook's parameters describe. Raises as `open_page` and `study_of`."""
    page = open_page(name, parameters)
    study = study_of(page.settings, mean=parameters.get("mean", ()))
    remarks = [*study.networks.notes, *filter(None, [study.images.note])]
    page.remark = " ".join(f"{text}." for text in remarks)
    return study, page


def reruns(parameters: Mapping[str, Any], seeds: Sequence[int]) -> list[Study]:
    """The same study with each of the other ``seeds``."""
    settings = Settings.of(parameters)
    return [study_of(replace(settings, seed=seed)) for seed in dict.fromkeys(seeds) if seed != settings.seed]
