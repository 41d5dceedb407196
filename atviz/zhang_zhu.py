"""Figures 1 to 10 and Tables 1 to 8 of Zhang & Zhu (2019), each from one call, for the images and networks of a study.

A table of one data set in the paper (4 to 6: saturation, 7 and 8: shuffling) is that of whatever data set the study is of.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from . import distortions, evaluate, plots, saliency
from .intervals import wilson
from .notebook import Notebook
from .recipes import eps_text

LEVELS = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 1024.0]  # of saturation; 2 is the original
RADIUS = 4.0  # cycles per image: the paper gives no radius for Table 3
SHARE = 0.1  # of the Fourier modes removed (the authors' code)
CLASSES = {"cifar10": 10, "tiny-imagenet": 200, "caltech256": 257}  # the paper's data sets, and how many classes tell them from a part


class Drawn(NamedTuple):
    """A figure, a short name for its file, and its caption."""

    figure: Figure
    name: str
    caption: str


@functools.cache
def reported() -> pd.DataFrame:
    """What the papers' tables report: ``paper``, ``table``, ``dataset``, ``model``, ``measure``, ``setting``, ``value`` (text),
    ``slip`` (what is known to be wrong with a number, else empty)."""
    return pd.read_csv(Path(__file__).with_name("paper_tables.csv"), dtype=str, keep_default_na=False)


def paper_dataset(name: str, classes: int) -> str:
    """Which of the paper's data sets one of this name and number of classes is, or ""."""
    plain = name.split(":")[-1].lower().replace("-", "").replace("_", "")
    return next((known for known, count in CLASSES.items() if known.replace("-", "") in plain and classes == count), "")


def table(study: Notebook, number: int, *, levels: Sequence[float] = (), radius: float = RADIUS) -> pd.DataFrame:
    """A table of the paper with this study's numbers: a row a model × setting.

    1: accuracy on clean images and under the study's attack. 2: on stylized images. 3: low-pass and high-pass filtered at
    ``radius``, and a tenth of the Fourier modes removed. 4, 5, 6: saturated. 7, 8: shuffled.

    ``levels`` of saturation, or k of shuffling; default the paper's levels, and every k up to 8 that divides the side.

    Columns: ``model``, ``setting``, ``measure`` (``top1`` or ``acc_on_correct``), ``n`` (images that the share is of), ``value``,
    ``ci_low``, ``ci_high`` (95 %, Wilson), ``top1`` (accuracy over all test images at the same setting), ``paper`` (the paper's own
    value where the data set is the paper's, else missing), ``slip`` (what is known to be wrong with the paper's).

    Raises:
        ValueError: a number that is not 1 to 8.
    """
    if number not in TABLES:
        raise ValueError(f"there is no table {number}; the paper has 1 to {len(TABLES)}")
    rows = TABLES[number](study, levels=list(levels), radius=radius)
    images = study.test_images
    dataset = paper_dataset(images.name, len(images.classes))
    known = reported()
    known = known[(known.paper == "zhang-zhu-2019") & (known.dataset == dataset) & known.table.isin([f"T{i}" for i in _same(number)])]
    found = {(row["model"], row["setting"]): (float(row["value"]), row["slip"]) for row in known.to_dict("records")}
    if number == 3 and ("pgd-inf", "low_pass") in found:  # the paper does not say which eps
        found |= {(study.adversarial, setting): value for (model, setting), value in found.items() if model == "pgd-inf"}
    looked = [found.get((row["model"], row["in_paper"]), (float("nan"), "")) for row in rows]
    frame = pd.DataFrame(rows).drop(columns="in_paper")
    return frame.assign(paper=[value / 100 for value, _ in looked], slip=[slip for _, slip in looked])


def readable(rows: pd.DataFrame, *, top1: bool = False) -> pd.DataFrame:
    """The rows of `table` for reading: models down, settings across, percentages with their 95 % intervals in brackets, and
    ± the standard deviation over several runs.

    Where the paper has a number it stands in parentheses, with a † if it is a known slip. The first column, ``n correct``, is the number
    of images that a share of those classified correctly is of. With ``top1`` the cells are the accuracy over all images instead.
    """
    models, settings = list(dict.fromkeys(rows.model)), list(dict.fromkeys(rows.setting))
    cells = [f"{100 * value:.1f}" for value in rows.top1] if top1 else [_cell(row) for row in rows.to_dict("records")]
    wide = rows.assign(cell=cells).pivot(index="model", columns="setting", values="cell")
    wide = wide.reindex(index=models, columns=settings).fillna("–").rename_axis(None, axis=1)
    of_correct = rows[rows.measure.isin(["acc_on_correct", "defense_success"])].groupby("model").n.first()
    if len(of_correct) and not top1:
        wide.insert(0, "n correct", [f"{of_correct[name]:,}" for name in models])
    return wide


def _cell(row: dict[Hashable, Any]) -> str:
    over_runs, in_paper = (f" ± {100 * row[sd]:.2f}" if pd.notna(row.get(sd)) else "" for sd in ("sd", "paper_sd"))
    own = f"{100 * row['value']:.1f}{over_runs} [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"
    return own if pd.isna(row["paper"]) else f"{own} ({100 * row['paper']:.2f}{in_paper}{'†' if row['slip'] else ''})"


def _same(number: int) -> tuple[int, ...]:
    return next((group for group in ((4, 5, 6), (7, 8)) if number in group), (number,))


def _row(
    model: str, setting: str, in_paper: str, measure: str, n: int, value: float, low: float, high: float, top1: float | None = None
) -> dict[str, Any]:
    return {
        "model": model,
        "setting": setting,
        "in_paper": in_paper,
        "measure": measure,
        "n": n,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "top1": value if top1 is None else top1,
    }


def _table_1(study: Notebook, **others: Any) -> list[dict[str, Any]]:
    eps, steps = (study.attack.keywords[key] for key in ("eps", "steps"))
    as_paper = abs(eps - 8 / 255) < 1e-9
    columns = [("clean", "clean", "clean"), ("robust", f"PGD L∞, eps {eps_text(eps)}, {steps} steps", "pgd-linf-8-40" if as_paper else "")]
    return [
        _row(name, setting, in_paper, "top1", row["n"], row[key], row[f"{key}_low"], row[f"{key}_high"])
        for name, row in study.robustness().items()
        for key, setting, in_paper in columns
    ]


def _distorted(study: Notebook, wanted: evaluate.Distortions, words: Callable[[str, float], tuple[str, str]]) -> list[dict[str, Any]]:
    rows = evaluate.table(study.outcomes(wanted)).to_dict("records")
    return [
        _row(
            name,
            *words(row["distortion"], row["level"]),
            "acc_on_correct",
            row["n_correct"],
            row["acc_on_correct"],
            row["ci_low"],
            row["ci_high"],
            row["top1"],
        )
        for name in study.settings.models
        for row in rows
        if row["model"] == name
    ]


def _table_2(study: Notebook, **others: Any) -> list[dict[str, Any]]:
    painter, rows = study.stylizer, []
    stylized = _distorted(study, {"stylize": {painter.alpha: painter}}, lambda name, level: ("stylized", "stylized"))
    for row in stylized:
        right = study.outcomes({}).clean[row["model"]]
        rows += [_row(row["model"], "clean", "clean", "top1", len(right), right.mean(), *wilson(int(right.sum()), len(right))), row]
    return rows


def _table_3(study: Notebook, *, radius: float, **others: Any) -> list[dict[str, Any]]:
    titles = {
        "low_pass": f"low-pass, radius {radius:g}",
        "high_pass": f"high-pass, radius {radius:g}",
        "random_modes": "a tenth of the modes removed",
    }
    return _distorted(
        study, {"low_pass": [radius], "high_pass": [radius], "random_modes": [SHARE]}, lambda name, level: (titles[name], name)
    )


def _saturation(study: Notebook, *, levels: list[float], **others: Any) -> list[dict[str, Any]]:
    shown = [level for level in levels or LEVELS if level != 2]
    return _distorted(study, {"saturate": shown}, lambda name, level: (f"{level:g}", f"saturate-{level:g}"))


def _shuffling(study: Notebook, *, levels: list[float], **others: Any) -> list[dict[str, Any]]:
    wanted = {"patch_shuffle": levels or _counts(study)}
    return _distorted(study, wanted, lambda name, level: (f"{level:g} × {level:g}", f"patch_shuffle-{level:g}"))


def _counts(study: Notebook) -> list[int]:
    return distortions.patch_counts(*study.test_images.shape[1:])


TABLES: dict[int, Callable[..., list[dict[str, Any]]]] = {
    1: _table_1, 2: _table_2, 3: _table_3, 4: _saturation, 5: _saturation, 6: _saturation, 7: _shuffling, 8: _shuffling,
}  # fmt: skip


def figure(
    study: Notebook, number: int, *, images: int = 0, levels: Sequence[float] = (), scale: str = "map", version: str = "clean"
) -> Drawn:
    """A figure of the paper with this study's images and networks.

    1: the distortions. 2: Grad of three networks on clean, saturated and stylized images. 3: stylized images. 4: saturated images.
    5: accuracy against saturation. 6: probability of the true class of shuffled images. 7: accuracy against k. 8: Grad of the
    normal, a PGD-trained and the spatially trained network. 9: SmoothGrad of all networks. 10: Grad of all networks.

    Args:
        images: how many test images are shown; 0 is what fits.
        levels: as in `table`.
        scale: of saliency maps, as in `plots.saliency_grid`.
        version: of the images in Figures 8, 9 and 10: ``clean``, ``saturated`` or ``stylized``.

    Raises:
        ValueError: a number that is not 1 to 10, fewer than one image, an unknown scale or version, or Figure 8 of a study without a
            ``spatial`` network.
    """
    if number not in FIGURES:
        raise ValueError(f"there is no figure {number}; the paper has 1 to {len(FIGURES)}")
    if images < 0:
        raise ValueError(f"images is {images}; it must be at least 1, or 0 for what fits")
    if version not in VERSIONS:
        raise ValueError(f"version is {version!r}; it must be one of {', '.join(VERSIONS)}")
    draw, fits = FIGURES[number]
    return Drawn(*draw(study, images=images or fits, levels=list(levels), scale=plots.check_scale(scale), version=version))


VERSIONS: dict[str, Callable[[Notebook, Tensor], Tensor]] = {
    "clean": lambda study, x: x,
    "saturated": lambda study, x: distortions.saturate(x, LEVELS[-1]),
    "stylized": lambda study, x: study.stylizer(x),
}


def _shuffled(study: Notebook, x: Tensor, counts: Sequence[float] = ()) -> dict[str, Tensor]:
    return {f"{k:g} × {k:g}": distortions.named("patch_shuffle", k, seed=study.settings.seed)(x) for k in counts or _counts(study)}


def _figure_1(study: Notebook, *, images: int, **others: Any) -> tuple[Figure, str, str]:
    x, _, titles = study.gallery(images)
    r = RADIUS
    shown = {**{name: make(study, x) for name, make in VERSIONS.items()}, **_shuffled(study, x), f"low-pass {r:g}": distortions.low_pass(x, r),
             f"high-pass {r:g}": distortions.high_pass(x, r) + 0.5, "modes": distortions.named("random_modes", SHARE, seed=study.settings.seed)(x)}  # fmt: skip
    rows = [(title, [version[i] for version in shown.values()]) for i, title in enumerate(titles)]
    caption = (
        f"Figure 1. Images and what is made of them: saturated to level {LEVELS[-1]:g}, stylized, cut into k × k patches and shuffled, low- and "
        f"high-pass filtered (radius {r:g}; the latter around mid-gray), a tenth of the Fourier modes removed."
    )
    return plots.image_grid(rows, list(shown)), "figure-1", caption


def _figure_2(study: Notebook, *, images: int, scale: str, **others: Any) -> tuple[Figure, str, str]:
    x, y, titles = study.gallery(images)
    models = {name: study.models[name] for name in ("normal", "underfit", study.adversarial) if name in study.models}
    blocks = {version: make(study, x) for version, make in VERSIONS.items()}
    maps = {(version, name): saliency.grad(model, shown, y) for version, shown in blocks.items() for name, model in models.items()}
    drawn = plots.as_shown(maps, scale)
    rows = [
        (title, [t[i] for v, shown in blocks.items() for t in (shown, *(drawn[v, name] for name in models))])
        for i, title in enumerate(titles)
    ]
    caption = (
        "Figure 2. Grad of the true class on clean, saturated and stylized images: each image, then its maps. White pixels move the "
        "log-probability most."
    )
    columns = [column for version in VERSIONS for column in (version, *models)]
    return plots.image_grid(rows, columns, block=1 + len(models), note=plots.SCALES[scale]), "figure-2", caption


def _figure_3(study: Notebook, *, images: int, **others: Any) -> tuple[Figure, str, str]:
    x, _, titles = study.gallery(images)
    painter = study.stylizer
    styles = painter.styles[:8].to(x)
    painted = [painter.paint(x, torch.full((len(x),), i)) for i in range(len(styles))]
    swatches = styles if x.shape[1] == 3 else styles.mean(1, keepdim=True)  # gray images come out gray
    rows: list[tuple[str, Sequence[Tensor]]] = [("style", [torch.ones_like(x[0]), *swatches])]
    rows += [(title, [x[i], *(p[i] for p in painted)]) for i, title in enumerate(titles)]
    caption = f"Figure 3. Images (left) in the style of each texture above them, by AdaIN with α = {painter.alpha:g}."
    return plots.image_grid(rows, [""] * (1 + len(styles))), "figure-3", caption


def _figure_4(study: Notebook, *, images: int, levels: list[float], **others: Any) -> tuple[Figure, str, str]:
    x, _, titles = study.gallery(images)
    levels = levels or LEVELS
    shown = [distortions.saturate(x, level) for level in levels]
    rows = [(title, [s[i] for s in shown]) for i, title in enumerate(titles)]
    caption = "Figure 4. The same images at every saturation level. Level 2 is the original."
    return plots.image_grid(rows, [f"{level:g}" for level in levels]), "figure-4", caption


def _curves(study: Notebook, wanted: evaluate.Distortions, **look: Any) -> Figure:
    (name,) = wanted
    rows = evaluate.table(study.outcomes(wanted))
    return plots.distortion_curves(
        rows, xlabel=distortions.DISTORTIONS[name][3], log=True, chance=1 / len(study.test_images.classes), **look
    )


def _figure_5(study: Notebook, *, levels: list[float], **others: Any) -> tuple[Figure, str, str]:
    caption = "Figure 5. Accuracy on correctly classified images against the saturation level, with 95 % bands."
    return _curves(study, {"saturate": levels or LEVELS}, original=2), "figure-5", caption


def _figure_6(study: Notebook, *, images: int, levels: list[float], **others: Any) -> tuple[Figure, str, str]:
    x, y, titles = study.gallery(images)
    image = study.settings.seed % len(x)
    shown = {"original": x, **_shuffled(study, x, levels)}
    one = torch.stack([s[image] for s in shown.values()])
    label = y[image].expand(len(one))
    probability = {name: evaluate.true_probability(model, one, label) for name, model in study.models.items()}
    caption = f"Figure 6. Probability of the true class ({titles[image]}) of one image, shuffled ever finer."
    return plots.probability_strip(one, probability, list(shown)), "figure-6", caption


def _figure_7(study: Notebook, *, levels: list[float], **others: Any) -> tuple[Figure, str, str]:
    caption = "Figure 7. Accuracy on correctly classified images against k, cut into k × k patches and shuffled, with 95 % bands."
    return _curves(study, {"patch_shuffle": levels or _counts(study)}), "figure-7", caption


def _maps(study: Notebook, images: int, scale: str, version: str, names: Sequence[str], method: Callable[..., Tensor]) -> Figure:
    x, y, titles = study.gallery(images)
    x = VERSIONS[version](study, x)
    return plots.saliency_grid(x, {name: method(study.models[name], x, y) for name in names}, titles, scale=scale)


def _figure_8(study: Notebook, *, images: int, scale: str, version: str, **others: Any) -> tuple[Figure, str, str]:
    if "spatial" not in study.models:
        raise ValueError(f"Figure 8 is of a network named spatial, and the study has {', '.join(study.models)}")
    caption = f"Figure 8. Grad of the normal, the PGD-trained and the spatially trained network, {version} images."
    return _maps(study, images, scale, version, ["normal", study.adversarial, "spatial"], saliency.grad), "figure-8", caption


def _figure_9(study: Notebook, *, images: int, scale: str, version: str, **others: Any) -> tuple[Figure, str, str]:
    copies = study.profile.smooth_copies
    method = functools.partial(saliency.smooth_grad, n=copies)
    caption = f"Figure 9. SmoothGrad: the mean of Grad over {copies} noisy copies of each image (σ = 0.1 of its range), {version} images."
    return _maps(study, images, scale, version, list(study.models), method), "figure-9", caption


def _figure_10(study: Notebook, *, images: int, scale: str, version: str, **others: Any) -> tuple[Figure, str, str]:
    caption = f"Figure 10. Grad: gradient of the true class's log-probability, {version} images. White pixels move it most."
    return _maps(study, images, scale, version, list(study.models), saliency.grad), "figure-10", caption


# number -> how it is drawn, and how many images fit
FIGURES: dict[int, tuple[Callable[..., tuple[Figure, str, str]], int]] = {
    1: (_figure_1, 5), 2: (_figure_2, 5), 3: (_figure_3, 5), 4: (_figure_4, 5), 5: (_figure_5, 1), 6: (_figure_6, 1), 7: (_figure_7, 1),
    8: (_figure_8, 8), 9: (_figure_9, 8), 10: (_figure_10, 8),
}  # fmt: skip
