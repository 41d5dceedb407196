"""Measures atviz beside its peers, and beside itself before, and prints a table.

python -m benchmarks                       attacks, techniques, training, saliency, distortions, loading, growth
python -m benchmarks attacks saliency      only these
python -m benchmarks page                  copies the tables of results/benchmarks into benchmarks/README.md
python -m benchmarks strong                the strong attack beside AutoAttack's own code, on four networks
python -m benchmarks threads               trainings side by side, of one and of two threads each
python -m benchmarks plan                  hours of a big study, from operations counted and rates
python -m benchmarks whole --before COMMIT `atviz run` from nothing, repeated and with the zoo, now and at a commit

Every part writes its table to results/benchmarks/<part>.{csv,md}, or <part>-<dataset> where another set is named; ratios also go to benchmarks/history.csv.
"""

from __future__ import annotations

import argparse
import re
import warnings
from pathlib import Path

from . import attacks, distorting, loading, maps, planning, scaling, strong, techniques, threads, training, whole
from .measure import ROOT, append_history, ceilings, machine, markdown, measured, pipes, table
from .subjects import subject_of

PARTS = ("attacks", "techniques", "training", "saliency", "distortions", "loading", "growth")
OUT = ROOT / "results" / "benchmarks"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks")
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, "plan", "strong", "threads", "whole", "page", []], help="default: the first seven"
    )
    parser.add_argument("--dataset", default="fashion", help="fashion, cifar10 or folder:PATH; its networks in the zoo are attacked")
    parser.add_argument("--images", type=int, default=1000, help="of the PGD-40 evaluation")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--files", type=int, default=60_000, help="PNG files")
    parser.add_argument("--tree", type=int, default=100_000, help="JPEG files of the streamed tree")
    parser.add_argument("--before", default="28f79ae", help="commit that the whole is compared with")
    given = parser.parse_args()
    parts = given.parts or list(PARTS)
    if parts == ["page"]:
        fill_page()
        return
    warnings.filterwarnings("ignore")  # peers warn of each other's ways
    about, limits = machine(), ceilings()
    head = "; ".join(f"{key} {value}" for key, value in about.items())
    head += f"; ceilings: {limits['fp32'] / 1e9:.0f} GFLOP/s fp32, {limits['bf16'] / 1e9:.0f} GFLOP/s bf16, {limits['copy'] / 1e9:.1f} GB/s copied"
    print(head, flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    subject = subject_of(given.dataset)
    suffix = "" if given.dataset == "fashion" else f"-{subject.test.name.rpartition(':')[2]}"
    sets = {
        "attacks": lambda: attacks.cases(subject, given.images, given.turns),
        "techniques": lambda: techniques.cases(subject, given.turns),
        "training": lambda: training.cases(given.turns),
        "saliency": lambda: maps.cases(given.turns),
        "distortions": lambda: distorting.cases(given.turns),
    }
    for part in parts:
        text = f"{head}\n\n"
        if part in sets:
            rows = []
            for case in sets[part]():
                new = measured(case, limits)
                rows += new
                append_history(table(new), about)
                print(markdown(table(new)).split("\n", 2)[2], flush=True)
                (OUT / f"{part}{suffix}.md").write_text(text + markdown(table(rows)) + "\n")  # what an interruption leaves
            found = table(rows)
            text += markdown(found)
            if part == "saliency":
                text += "\n\n" + maps.bf16_error(subject)
        elif part == "loading":
            tree = loading.streamed(given.tree)  # first: its peak of memory is that of the process
            found = loading.png(given.files)
            text += pipes(found) + "\n\n" + pipes(tree)
        elif part == "growth":
            found = scaling.growth(subject)
            text += pipes(found)
        elif part == "threads":
            found = threads.side_by_side()
            text += pipes(found)
        elif part == "strong":
            found = strong.compared()
            text += pipes(found)
        elif part == "plan":
            found = planning.hours()
            text += pipes(found.round(3))
        else:
            for found, stages in whole.compared(given.before):
                stages.to_csv(OUT / "stages.csv", index=False)
                by_stage = stages.pivot_table("seconds", "stage", "version").reset_index().round(1)
                text = f"{head}\n\n{pipes(found)}\n\n{pipes(by_stage)}"
                (OUT / f"{part}.md").write_text(text + "\n")  # what an interruption leaves
        found.to_csv(OUT / f"{part}{suffix}.csv", index=False)
        (OUT / f"{part}{suffix}.md").write_text(text + "\n")
        if part not in sets:
            print(text, flush=True)


def fill_page() -> None:
    """Put each part's table between its marks; a part that was not measured here keeps the old one."""
    page = Path(__file__).parent / "README.md"

    def filled(match: re.Match[str]) -> str:
        found = OUT / f"{match['part']}.md"
        return f"{match['open']}\n{found.read_text().strip()}\n<!-- end -->" if found.is_file() else match[0]

    page.write_text(re.sub(r"(?P<open><!-- part: (?P<part>[\w-]+) -->).*?<!-- end -->", filled, page.read_text(), flags=re.DOTALL))


if __name__ == "__main__":
    main()
