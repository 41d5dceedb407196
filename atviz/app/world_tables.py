"""The pages' tables of what ships of the worlds: what decides, the verdicts on the instruments, the claims of later papers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..evidence import across, choice, crossed, reliability, removed
from ..papers import later


def outcomes() -> list[str]:
    """What decides in each world after adversarial training, and who predicted it."""
    rows = crossed.rows(crossed.CROSSED)
    found = choice.outcomes(rows) if len(rows) else rows
    header = [
        "world",
        "shape ±",
        "texture ±",
        "scale of shape to texture",
        "normal",
        "ε",
        "adversarial [95 %]",
        "change [95 %]",
        "decides",
        "as normal",
        *crossed.HYPOTHESES,
    ]
    worlds, scale = across.settings().set_index("world"), crossed.predictions().set_index("world")["scale ratio"]
    body = [
        [
            name, f"{worlds['shape ±'][name]:.2f}", f"{worlds['texture ±'][name]:.2f}", f"{scale[name]:.1f}", signed(r["normal"]),
            f"{r['eps']:g}", f"{signed(r['adversarial'])} [{signed(r['low'])}, {signed(r['high'])}]",
            f"{signed(r['shift'])} [{signed(r['shift_low'])}, {signed(r['shift_high'])}]", r["decides"], r["as normal"],
            *(r[hypothesis] for hypothesis in crossed.HYPOTHESES),
        ]
        for r in found.to_dict("records")
        for name in [r["world"]]
    ]  # fmt: skip
    return [line(each) for each in (header, ["---", *["--:"] * 7, *["---"] * 5], *body)] if body else []


def instruments() -> list[str]:
    """The verdict on each instrument over all worlds."""
    rows, read = (crossed.rows(table) for table in (crossed.CROSSED, crossed.READINGS))
    if not len(read):
        return []
    titles, found = reliability.titles(), across.overall(across.by_seed(rows, read))
    body = [
        [
            titles[r["instrument"]],
            f"{r['reliable_in']} of {r['worlds']}",
            f"{r['inner_above_0']} of {r['worlds']}",
            f"{r['agreement']:.2f}",
            r["verdict"],
        ]
        for r in found.to_dict("records")
    ]
    return [
        line(each)
        for each in (
            ["instrument", "reliable in", "inner rho above 0 in", "leave one world out", "verdict"],
            ["---", "--:", "--:", "--:", "---"],
            *body,
        )
    ]


def real_images() -> list[str]:
    """The controls on real images: what each kind lacks, how well it knows whole images and its own, and how many instruments read it rightly."""
    rows = removed.rows()
    if not len(rows):
        return []
    found, means = removed.rated(rows), rows.groupby("kind")[["clean", "own"]].mean()
    words = {1: "more", -1: "less", 0: "(unknown)"}
    body: list[list[Any]] = []
    for kind, of in removed.KINDS.items():
        counts = found[found.kind == kind].verdict.value_counts()
        judged = [counts.get(verdict, 0) if of.shape else "" for verdict in ("right", "wrong", "uncertain")]
        shares = [f"{100 * means[name][kind]:.1f} %" for name in ("clean", "own")]
        body.append([kind, of.lacked, words[of.shape] if of.distortion else "", *shares, *judged])
    header = [
        "kind",
        "images without",
        "uses shape",
        "accuracy on whole images",
        "on images like its own",
        "read rightly",
        "wrongly",
        "uncertain",
    ]
    return [line(each) for each in (header, ["---"] * 3 + ["--:"] * 5, *body)]


def claims() -> list[str]:
    """The claims of later papers in each world: the difference with its interval, and the verdict."""
    found = later.by_world()
    if not len(found):
        return []
    cells = {
        (r["world"], r["claim"]): f"{signed(r['difference'])} [{signed(r['ci_low'])}, {signed(r['ci_high'])}] {r['verdict']}"
        for r in found[found.verdict != "not measured"].to_dict("records")
    }
    header = ["world", *(f"{claim.label}: {claim.expected} ({claim.paper})" for claim in later.CLAIMS.values())]
    body = [[world, *(cells.get((world, claim), "not measured") for claim in later.CLAIMS)] for world in dict.fromkeys(found.world)]
    return [line(each) for each in (header, ["---"] * len(header), *body)]


def line(cells: Iterable[Any]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def signed(value: float) -> str:
    """A number with its sign and two digits."""
    return f"{value:+.2f}".replace("-", "−")


TABLES: dict[str, Callable[[], list[str]]] = {
    "outcomes": outcomes, "instruments": instruments, "real-images": real_images, "claims": claims,
}  # fmt: skip
