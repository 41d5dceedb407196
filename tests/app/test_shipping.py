"""The hidden commands: each does one thing, and `atviz --help` does not list them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from atviz.app.cli import app

CALLED = {
    "notebooks": "atviz.app.pipeline.refresh",
    "controls": "atviz.evidence.publishing.ship",
    "transfer": "atviz.evidence.zoo.publish_backbones",
    "seeds": "atviz.evidence.zoo.publish_seeds",
    "readme": "atviz.app.pages.fill_all",
}


@pytest.mark.parametrize("command", CALLED)
def test_a_hidden_command_does_what_its_name_says(command, monkeypatch):
    calls = []
    monkeypatch.setattr(CALLED[command], lambda: calls.append(command) or Path("made/here"))
    others = {"app.crossing.run": "crossed", "app.crossing.run_removed": "removed", "evidence.publishing.mark_worlds": "marks"}
    for name, said in others.items():
        monkeypatch.setattr(f"atviz.{name}", lambda *path, said=said: calls.append(said) or [])
    done = CliRunner().invoke(app, [command])
    expected = [command, *others.values()] if command == "controls" else [command]
    assert done.exit_code == 0 and calls == expected
    assert (str(Path("made/here")) in done.output) == (command in ("controls", "transfer", "seeds"))
    assert f"\n  {command} " not in CliRunner().invoke(app, ["--help"]).output


def test_trainings_that_failed_are_told(monkeypatch):
    monkeypatch.setattr(CALLED["controls"], lambda: Path("made/here"))
    monkeypatch.setattr("atviz.app.crossing.run", lambda: ["inside-shape-1-s0: no memory"])
    monkeypatch.setattr("atviz.app.crossing.run_removed", list)
    monkeypatch.setattr("atviz.evidence.publishing.mark_worlds", lambda path: None)
    done = CliRunner().invoke(app, ["controls"])
    assert done.exit_code == 1 and "atviz: inside-shape-1-s0: no memory" in done.output


@pytest.mark.parametrize("command", CALLED)
def test_from_a_wheel_nothing_is_made_that_ships(command, monkeypatch):
    monkeypatch.setattr("atviz.app.shipping.checkout", lambda: None)
    monkeypatch.setattr(CALLED[command], lambda: pytest.fail("it was called"))
    done = CliRunner().invoke(app, [command])
    assert done.exit_code == 2 and done.output.startswith("atviz: ") and "needs a checkout" in done.output and done.output.count("\n") == 1
