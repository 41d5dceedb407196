"""Figures 1 to 10 and Tables 1 to 8 of Zhang & Zhu (2019), each from one call, for the images and networks of a study.

A table of one data set in the paper (4 to 6: saturation, 7 and 8: shuffling) is here a table of the study's data set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from .. import distortions, saliency
from ..evidence import Distortions, Study, find, true_probability, wilson
from ..evidence import table as outcome_table
from ..training import eps_text
from .drawing import Drawing
from .tables import reported

LEVELS = list(find("saturate").levels)  # 2 is the original
RADIUS = 4.0  # cycles per image: the paper gives no radius for Table 3
SHARE = 0.1  # of the Fourier modes removed (the authors' code)
CLASSES = {"cifar10": 10, "tiny-imagenet": 200, "caltech256": 257}  # the paper's data sets, and how many classes tell them from a part


def paper_dataset(name: str, classes: int) -> str:
    """Which of the paper's data sets has this name and number of classes, or ""."""
    plain = name.split(":")[-1].lower().replace("-", "").replace("_", "")
    return next((known for known, count in CLASSES.items() if known.replace("-", "") in plain and classes == count), "")


def table(study: Study, number: int, *, levels: Sequence[float] = (), radius: float = RADIUS) -> pd.DataFrame:
    """A table of the paper with this study's numbers: one row per model and setting.

    1: accuracy on clean images and under the study's attack. 2: on stylized images. 3: low-pass and high-pass filtered at
    ``radius``, and a tenth of the Fourier modes removed; the last two with the mean kept, and again without it. 4, 5, 6: saturated.
    7, 8: shuffled.

    ``levels`` of saturation, or k of shuffling; default the paper's levels, and every k up to 8 that divides the side.

    Columns: ``model``, ``setting``, ``measure`` (``top1`` or ``acc_on_correct``), ``n`` (images that the share is of), ``value``,
    ``ci_low``, ``ci_high`` (95 %, Wilson), ``top1`` (accuracy over all test images at the same setting), ``paper`` (the paper's own
    value where the data set is the paper's, else missing), ``slip`` (what is known to be wrong with the paper's value).

    Raises:
        ValueError: a number that is not 1 to 8.
    """
    if number not in TABLES:
        raise ValueError(f"there is no table {number}; the paper has 1 to {len(TABLES)}")
    rows = TABLES[number](study, levels=list(levels), radius=radius)
    dataset = paper_dataset(study.images.name, len(study.images.classes))
    same = next((group for group in ((4, 5, 6), (7, 8)) if number in group), (number,))
    known = reported()
    known = known[(known.paper == "zhang-zhu-2019") & (known.dataset == dataset) & known.table.isin([f"T{i}" for i in same])]
    found = {(row["model"], row["setting"]): (float(row["value"]), row["slip"]) for row in known.to_dict("records")}
    if number == 3 and ("pgd-inf", "low_pass") in found:  # the paper does not say which eps
        found |= {(study.subject, setting): value for (model, setting), value in found.items() if model == "pgd-inf"}
    outside = {name for name, network in study.networks.items() if network.card.get("outside")}  # whatever it is named
    looked = [found.get((row["model"] if row["model"] not in outside else "", row["in_paper"]), (float("nan"), "")) for row in rows]
    frame = pd.DataFrame(rows).drop(columns="in_paper")
    return frame.assign(paper=[value / 100 for value, _ in looked], slip=[slip for _, slip in looked])


ROW = ("model", "setting", "in_paper", "measure", "n", "value", "ci_low", "ci_high", "top1")


def _table_1(study: Study, **others: Any) -> list[dict[str, Any]]:
    eps, steps = (study.attack.keywords[key] for key in ("eps", "steps"))
    as_paper = abs(eps - 8 / 255) < 1e-9
    columns = [("clean", "clean", "clean"), ("robust", f"PGD L∞, eps {eps_text(eps)}, {steps} steps", "pgd-linf-8-40" if as_paper else "")]
    return [
        dict(zip(ROW, (name, setting, in_paper, "top1", row["n"], *(row[key + end] for end in ("", "_low", "_high", ""))), strict=True))
        for name, row in study.robustness().items()
        for key, setting, in_paper in columns
    ]


def _distorted(study: Study, wanted: Distortions, words: Callable[[str, float], tuple[str, str]]) -> list[dict[str, Any]]:
    rows = outcome_table(study.outcomes(wanted)).to_dict("records")
    values = ("n_correct", "acc_on_correct", "ci_low", "ci_high", "top1")
    return [
        dict(zip(ROW, (name, *words(row["distortion"], row["level"]), "acc_on_correct", *(row[v] for v in values)), strict=True))
        for name in study.networks
        for row in rows
        if row["model"] == name
    ]


def _table_2(study: Study, **others: Any) -> list[dict[str, Any]]:
    rows = []
    for row in _distorted(study, {"stylize": [study.stylizer.alpha]}, lambda name, level: ("stylized", "stylized")):
        right = study.outcomes({}).clean[row["model"]]
        share = float(right.mean())
        clean = (row["model"], "clean", "clean", "top1", len(right), share, *wilson(int(right.sum()), len(right)), share)
        rows += [dict(zip(ROW, clean, strict=True)), row]
    return rows


def _table_3(study: Study, *, radius: float, **others: Any) -> list[dict[str, Any]]:
    high, modes = f"high-pass, radius {radius:g}", "a tenth of the modes removed"
    titles = {
        "low_pass": f"low-pass, radius {radius:g}", "high_pass": high, "high_pass_dark": f"{high}, mean removed", "random_modes": modes,
        "random_modes_dark": f"{modes}, the mean among them",
    }  # fmt: skip
    wanted = {name: [SHARE if "modes" in name else radius] for name in titles}
    # the paper does not say what became of the mean: its number stands beside the variant that keeps it
    return _distorted(study, wanted, lambda name, level: (titles[name], name))


def _saturation(study: Study, *, levels: list[float], **others: Any) -> list[dict[str, Any]]:
    shown = [level for level in levels or LEVELS if level != 2]
    return _distorted(study, {"saturate": shown}, lambda name, level: (f"{level:g}", f"saturate-{level:g}"))


def _shuffling(study: Study, *, levels: list[float], **others: Any) -> list[dict[str, Any]]:
    wanted = {"patch_shuffle": levels or _counts(study)}
    return _distorted(study, wanted, lambda name, level: (f"{level:g} × {level:g}", f"patch_shuffle-{level:g}"))


def _counts(study: Study) -> list[float]:
    return find("patch_shuffle").usable(study.images.shape)


TABLES: dict[int, Callable[..., list[dict[str, Any]]]] = {
    1: _table_1, 2: _table_2, 3: _table_3, 4: _saturation, 5: _saturation, 6: _saturation, 7: _shuffling, 8: _shuffling,
}  # fmt: skip


def figure(
    study: Study, number: int, *, images: int | None = None, levels: Sequence[float] = (), scale: str = "map", version: str = "clean"
) -> Drawing:
    """A figure of the paper with this study's images and networks.

    1: the distortions. 2: SmoothGrad of three networks on clean, saturated and stylized images. 3: stylized images. 4: saturated images.
    5: accuracy against saturation. 6: probability of the true class of shuffled images. 7: accuracy against k. 8: SmoothGrad of the
    normal, a PGD-trained and the spatially trained network. 9: SmoothGrad of all networks. 10: Grad of all networks.

    Args:
        images: how many test images are shown; default as many as fit.
        levels: as in `table`.
        scale: of saliency maps, as in `saliency.as_shown`.
        version: of the images in Figures 8, 9 and 10: ``clean``, ``saturated`` or ``stylized``.

    Raises:
        ValueError: a number that is not 1 to 10, fewer than one image, an unknown scale or version, or Figure 8 of a study without a
            ``spatial`` network.
    """
    if number not in FIGURES:
        raise ValueError(f"there is no figure {number}; the paper has 1 to {len(FIGURES)}")
    if images is not None and images < 1:
        raise ValueError(f"images is {images}; it must be at least 1")
    if version not in VERSIONS:
        raise ValueError(f"version is {version!r}; it must be one of {', '.join(VERSIONS)}")
    draw, fits = FIGURES[number]
    found = draw(study, images=images or fits, levels=list(levels), scale=saliency.check_scale(scale), version=version)
    kind, content, caption = found
    return Drawing(kind, content, f"figure-{number}", f"Figure {number}. {caption}")


VERSIONS: dict[str, Callable[[Study, Tensor], Tensor]] = {
    "clean": lambda study, x: x,
    "saturated": lambda study, x: distortions.saturate(x, LEVELS[-1]),
    "stylized": lambda study, x: study.stylizer(x),
}
Shown = tuple[str, dict[str, Any], str]  # kind of figure, its content, its caption


def _grid(rows: Sequence[tuple[str, Any]], columns: Sequence[str], caption: str, **more: Any) -> Shown:
    return "image_grid", {"rows": rows, "columns": columns, **more}, caption


def _shuffled(study: Study, x: Tensor, counts: Sequence[float] = ()) -> dict[str, Tensor]:
    return {f"{k:g} × {k:g}": find("patch_shuffle").at(k, seed=study.seed)(x) for k in counts or _counts(study)}


def _figure_1(study: Study, *, images: int, **others: Any) -> Shown:
    x, _, titles = study.gallery(images)
    r = RADIUS
    shown = {**{name: make(study, x) for name, make in VERSIONS.items()}, **_shuffled(study, x), f"low-pass {r:g}": distortions.low_pass(x, r),
             f"high-pass {r:g}": distortions.high_pass(x, r, keep_mean=True), "modes": find("random_modes").at(SHARE, seed=study.seed)(x)}  # fmt: skip
    caption = (
        f"Images and their distortions: saturated to level {LEVELS[-1]:g}, stylized, cut into k × k patches and shuffled, low- and "
        f"high-pass filtered (radius {r:g}, mean kept), a tenth of the Fourier modes removed."
    )
    return _grid([(title, [version[i] for version in shown.values()]) for i, title in enumerate(titles)], list(shown), caption)


def _figure_2(study: Study, *, images: int, scale: str, **others: Any) -> Shown:
    x, y, titles = study.gallery(images)
    names = dict.fromkeys(name for name in (study.baseline, "underfit", study.subject) if name in study.networks)
    blocks = {version: make(study, x) for version, make in VERSIONS.items()}
    method = _smooth(study)
    maps = {(version, name): method(study.models[name], shown, y) for version, shown in blocks.items() for name in names}
    drawn = saliency.as_shown(maps, scale)
    rows = [
        (title, [t[i] for v, shown in blocks.items() for t in (shown, *(drawn[v, name] for name in names))])
        for i, title in enumerate(titles)
    ]
    caption = (
        "SmoothGrad of the true class on clean, saturated and stylized images: each image, then its maps. White pixels change the "
        "log-probability most."
    )
    columns = [column for version in VERSIONS for column in (version, *names)]
    return _grid(rows, columns, caption, block=1 + len(names), note=saliency.SCALES[scale])


def _figure_3(study: Study, *, images: int, **others: Any) -> Shown:
    x, _, titles = study.gallery(images)
    painter = study.stylizer
    styles = painter.styles[:8].to(x)
    painted = [painter.paint(x, torch.full((len(x),), i)) for i in range(len(styles))]
    swatches = styles if x.shape[1] == 3 else styles.mean(1, keepdim=True)  # gray images come out gray
    rows: list[tuple[str, Sequence[Tensor]]] = [("style", [torch.ones_like(x[0]), *swatches])]
    rows += [(title, [x[i], *(p[i] for p in painted)]) for i, title in enumerate(titles)]
    return _grid(
        rows, [""] * (1 + len(styles)), f"Images (left) in the style of each texture above them, by AdaIN with α = {painter.alpha:g}."
    )


def _figure_4(study: Study, *, images: int, levels: list[float], **others: Any) -> Shown:
    x, _, titles = study.gallery(images)
    levels = levels or LEVELS
    shown = [distortions.saturate(x, level) for level in levels]
    rows = [(title, [s[i] for s in shown]) for i, title in enumerate(titles)]
    return _grid(rows, [f"{level:g}" for level in levels], "The same images at every saturation level. Level 2 is the original.")


def _curves(study: Study, name: str, levels: Sequence[float], caption: str) -> Shown:
    instrument, rows = find(name), outcome_table(study.outcomes({name: levels}))
    look = {"xlabel": instrument.axis, "log": True, "chance": 1 / len(study.images.classes)}
    original = instrument.original if instrument.original in levels else None
    return "distortion_curves", {"rows": rows, "original": original, **look}, caption


def _figure_5(study: Study, *, levels: list[float], **others: Any) -> Shown:
    caption = "Accuracy on correctly classified images against the saturation level, with 95 % bands."
    return _curves(study, "saturate", levels or LEVELS, caption)


def _figure_6(study: Study, *, images: int, levels: list[float], **others: Any) -> Shown:
    x, y, titles = study.gallery(images)
    image = study.seed % len(x)
    shown = {"original": x, **_shuffled(study, x, levels)}
    one = torch.stack([s[image] for s in shown.values()])
    label = y[image].expand(len(one))
    probability = {name: true_probability(model, one, label) for name, model in study.models.items()}
    content = {"images": one, "probability": probability, "titles": list(shown)}
    return "probability_strip", content, f"Probability of the true class ({titles[image]}) of one image, shuffled ever finer."


def _figure_7(study: Study, *, levels: list[float], **others: Any) -> Shown:
    caption = "Accuracy on correctly classified images against k, cut into k × k patches and shuffled, with 95 % bands."
    return _curves(study, "patch_shuffle", levels or _counts(study), caption)


def _maps(study: Study, images: int, scale: str, version: str, names: Sequence[str], method: Callable[..., Tensor], caption: str) -> Shown:
    x, y, titles = study.gallery(images)
    x = VERSIONS[version](study, x)
    maps = {name: method(study.models[name], x, y) for name in names}
    return "saliency_grid", {"images": x, "maps": maps, "titles": titles, "scale": scale}, caption


def _smooth(study: Study) -> Callable[..., Tensor]:
    """The paper's SmoothGrad, with the study's number of noisy copies."""
    return partial(saliency.smooth_grad, n=study.scale.smooth_copies)


def _figure_8(study: Study, *, images: int, scale: str, version: str, **others: Any) -> Shown:
    if "spatial" not in study.networks:
        raise ValueError(f"Figure 8 is of a network named spatial, and the study has {', '.join(study.networks)}")
    caption = f"SmoothGrad of the normal, the PGD-trained and the spatially trained network, {version} images."
    return _maps(study, images, scale, version, [study.baseline, study.subject, "spatial"], _smooth(study), caption)


def _figure_9(study: Study, *, images: int, scale: str, version: str, **others: Any) -> Shown:
    copies = study.scale.smooth_copies
    caption = f"SmoothGrad: the mean of Grad over {copies} noisy copies of each image (σ = 0.1 of its range), {version} images."
    return _maps(study, images, scale, version, list(study.networks), _smooth(study), caption)


def _figure_10(study: Study, *, images: int, scale: str, version: str, **others: Any) -> Shown:
    caption = f"Grad: gradient of the true class's log-probability, {version} images. White pixels change it most."
    return _maps(study, images, scale, version, list(study.networks), saliency.grad, caption)


# number -> what it shows, and how many images fit
FIGURES: dict[int, tuple[Callable[..., Shown], int]] = {
    1: (_figure_1, 5), 2: (_figure_2, 5), 3: (_figure_3, 5), 4: (_figure_4, 5), 5: (_figure_5, 1), 6: (_figure_6, 1), 7: (_figure_7, 1),
    8: (_figure_8, 8), 9: (_figure_9, 8), 10: (_figure_10, 8),
}  # fmt: skip
