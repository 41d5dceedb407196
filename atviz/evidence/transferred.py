"""What fine-tuning of fused networks gave: accuracies and differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..training import Task
from .intervals import mean_interval
from .records import Store

PAIRS = ("STD+STD", "ADV+ADV")  # STD+ADV is compared with the better one


@dataclass(frozen=True)
class Transferred:
    """Accuracies of fused networks on the target: see `training.Tuned` for ``outcomes`` and ``curves``."""

    outcomes: dict[str, np.ndarray]
    curves: pd.DataFrame

    @classmethod
    def of(cls, task: Task, *, store: Store | None = None) -> Transferred:
        """Run a task, or read what its records hold."""
        return cls(*task.run(store=store))

    @property
    def bands(self) -> pd.DataFrame:
        """One row per combination and epoch: test accuracy ``value``, mean over the runs, and one standard deviation about it, ``low``, ``high``."""
        found = self.curves.groupby(["model", "epoch"], sort=False)["clean"].agg(value="mean", sd="std").reset_index()
        return found.assign(low=found.value - found.sd, high=found.value + found.sd).drop(columns="sd")

    @property
    def table(self) -> pd.DataFrame:
        """One row per combination: final accuracy ``value``, mean over the ``runs``, with ``ci_low`` and ``ci_high``, 95 % over the ``n`` test
        images, each counted with the share of the runs that get it right; ``sd`` is the standard deviation over the runs."""
        rows = []
        for name, hits in self.outcomes.items():
            value, low, high = mean_interval(hits.mean(0))
            sd = float(hits.mean(1).std(ddof=1)) if len(hits) > 1 else float("nan")
            rows.append({"model": name, "value": value, "ci_low": low, "ci_high": high, "sd": sd, "runs": len(hits), "n": hits.shape[1]})
        return pd.DataFrame(rows)

    @property
    def readable(self) -> pd.DataFrame:
        """`table` as text, in percent."""
        rows = [
            {
                "networks": row["model"],
                "accuracy (%)": f"{100 * row['value']:.1f} [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]",
                "s.d.": f"{100 * row['sd']:.1f}",
                "runs": row["runs"],
                "test images": row["n"],
            }
            for row in self.table.to_dict("records")
        ]
        return pd.DataFrame(rows)

    @property
    def by_run(self) -> pd.DataFrame:
        """One row per combination and run: ``model``, ``run``, final accuracy ``value``."""
        return pd.DataFrame(
            [{"model": m, "run": run, "value": float(v)} for m, hits in self.outcomes.items() for run, v in enumerate(hits.mean(1))]
        )

    @property
    def n(self) -> int:
        """The number of test images."""
        return next(iter(self.outcomes.values())).shape[1]

    def accuracy(self, combination: str) -> float:
        """Final accuracy, mean over the runs."""
        return float(self.outcomes[combination].mean())

    @property
    def better_pair(self) -> str:
        """Which of `PAIRS` is the more accurate."""
        return max(PAIRS, key=self.accuracy)

    def difference(self, a: str, b: str) -> tuple[float, float, float]:
        """Final accuracy of combination ``a`` minus that of ``b``, with its 95 % interval: paired over the images, averaged over the runs."""
        return mean_interval(self.outcomes[a].mean(0) - self.outcomes[b].mean(0))

    def differences(self, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
        """`difference` of each pair, one row per pair: ``pair``, ``difference``, ``ci_low``, ``ci_high``."""
        rows = [
            dict(zip(("pair", "difference", "ci_low", "ci_high"), (f"{a} − {b}", *self.difference(a, b)), strict=True)) for a, b in pairs
        ]
        return pd.DataFrame(rows)
