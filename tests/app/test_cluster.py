"""`atviz sweep --engine ray` on a real cluster of two nodes."""

import json
import sys
import threading
import time

import pandas as pd
import pytest

from atviz.app import cluster, sweep
from atviz.notebook import Settings

ray = pytest.importorskip("ray", reason="Ray is not installed; it is in the extra cluster")

# sockets and processes of Ray are left to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:.*RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO:FutureWarning")

STUDIES = [Settings(profile="smoke", train_limit=100, test_limit=50, models=("normal", "fgsm-0.1"), seed=seed) for seed in range(3)]


def started():
    """A cluster of two nodes with one CPU each, and the second. On a busy machine Ray may not start in the 30 seconds that it gives itself."""
    from ray.cluster_utils import Cluster

    for attempt in range(3):
        both = Cluster()
        try:
            both.add_node(num_cpus=1, object_store_memory=80 * 2**20, include_dashboard=False)
            return both, both.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        except Exception as error:
            both.shutdown()
            if attempt == 2 or "timed out during startup" not in str(error):
                raise


@pytest.fixture
def nodes(jobs, tmp_path, monkeypatch):
    """The second node of a cluster, and a function that kills it."""
    monkeypatch.setenv("ATVIZ_HOME", str(tmp_path))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    both, second = started()
    try:
        both.wait_for_nodes()
        ray.init(address=both.address, log_to_driver=False)
        yield second.node_id, lambda: both.remove_node(second, allow_graceful=False)
    finally:
        ray.shutdown()
        both.shutdown()


def refuses_what_the_cluster_cannot_do(jobs, monkeypatch, tmp_path):
    """A cluster takes long to start: this is asked of the same one."""
    for options, message in [
        ({"cpus": 2}, "a cell asks for 2 CPU, but no node of the cluster has more than 1"),
        ({"gpus": 0.5}, "a cell asks for 0.5 GPU, but no node of the cluster has more than 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            sweep.run(STUDIES, ["saturate"], cluster.Ray(**options), name="s")
    for node, message in [
        (jobs.node_without_folder, "does not see .*; set ATVIZ_HOME to"),
        (jobs.node_of_another_version, "has atviz 0.0, not"),
    ]:
        with monkeypatch.context() as patch, pytest.raises(ValueError, match=f"the node .* {message}"):
            patch.setattr(cluster, "_node", node)
            sweep.run(STUDIES, ["saturate"], cluster.Ray(), name="s")
    assert not list(tmp_path.glob("results/s/cells/*")) and not list(tmp_path.glob("results/.shared*"))


def test_a_node_is_killed_in_the_middle_and_nothing_is_lost_and_nothing_finished_is_done_twice(nodes, jobs, tmp_path, monkeypatch):
    second, kill = nodes
    refuses_what_the_cluster_cannot_do(jobs, monkeypatch, tmp_path)
    monkeypatch.setattr(sweep, "measure", jobs.measure_noted)
    log, before = tmp_path / "log", []

    def watch():
        """Kill the second node when both nodes have finished a cell, and a cell has just begun on the second."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            found = jobs.notes(log)
            ended = {note["ended"] for note in found if "ended" in note}
            on = {note["begun"]: note["node"] for note in found if "begun" in note}
            flying = [name for name, node in on.items() if node == second and name not in ended]
            if flying and len({on[name] for name in ended}) == 2 and time.time() - found[-1]["time"] < 0.5:
                before.append((ended, flying))
                kill()
                return
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    folder, fine = sweep.run(STUDIES, ["saturate"], cluster.Ray(), name="s")
    watcher.join()
    assert before, "the second node never had a cell while both had finished one"
    ((ended, flying),) = before
    assert fine
    record = json.loads((folder / "sweep.json").read_text())
    table = pd.read_csv(folder / "table.csv")
    assert len(record["cells"]) == 6 == len(table.groupby(["model", "seed"]))
    assert record["failed"] == {}
    begun = [note for note in jobs.notes(log) if "begun" in note]
    times = {name: sum(note["begun"] == name for note in begun) for name in record["cells"]}
    assert len(flying) == 1
    assert times == {name: 1 + (name in flying) for name in record["cells"]}
    assert len(ended) < len(times) and not ended & set(flying)
    (again,) = [note for note in begun if note["begun"] == flying[0] and note["node"] != second]
    assert not again["done"]

    sweep.run(STUDIES, ["saturate"], cluster.Ray(), name="s")
    assert [note for note in jobs.notes(log) if "begun" in note] == begun


def test_without_ray_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r'^--engine ray needs Ray; install it with: pip install "atviz\[cluster\]"$'):
        sweep.engine_of("ray")
