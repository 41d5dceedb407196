"""`atviz models verify --strong`: what it measures, and what it writes into a card."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from atviz import models
from atviz.app.cli import app
from atviz.attacks import PARTS
from atviz.models import checkpoints

runner = CliRunner()


@pytest.fixture
def normal(tmp_path):
    """A copy of the normally trained network that ships, which no image withstands at the eps of its card."""
    return shutil.copytree(checkpoints.zoo("fashion")["normal"], tmp_path / "normal")


def verified(*args):
    done = runner.invoke(app, ["models", "verify", *map(str, args), "--strong", "--json"])
    (row,) = json.loads(done.stdout)
    return row, done.exit_code


def test_the_strong_attack_is_measured_written_and_measured_again(normal):
    before, weights = checkpoints.read_card(normal), (normal / checkpoints.WEIGHTS).read_bytes()
    row, code = verified(normal, "--test-limit", 20)
    assert (row["measure"], row["card"], row["same"], code) == ("strong", None, True, 0) and 0 <= row["found"] < 0.1
    assert checkpoints.read_card(normal) == before
    verified(normal, "--test-limit", 20, "--write")
    card = checkpoints.read_card(normal)
    assert card["attacked_by"] == {"attacks": list(PARTS), "norm": "linf", "eps": before["attack"]["eps"], "seed": 0, "n": 20}
    assert card["metrics"] == before["metrics"] | {"strong": row["found"]}
    assert {key: card[key] for key in before if key != "metrics"} == {key: before[key] for key in before if key != "metrics"}
    assert (normal / checkpoints.WEIGHTS).read_bytes() == weights and models.load(normal).card["attacked_by"] == card["attacked_by"]
    row, code = verified(normal)  # as many images as the card says
    assert (row["card"], row["same"], code) == (row["found"], True, 0)
    assert verified(normal, "--test-limit", 5)[0]["card"] is None  # of other images than the card's


def test_a_card_that_claims_too_much_is_found_out(normal):
    verified(normal, "--test-limit", 20, "--write")
    card = checkpoints.read_card(normal)
    card["metrics"]["strong"] += 0.5
    (normal / checkpoints.CARD).write_text(json.dumps(card))
    done = runner.invoke(app, ["models", "verify", str(normal), "--strong"])
    assert done.exit_code == 1 and "normal: robust accuracy under the strong attack 0.0000, card 0.5000, DIFFERS" in done.output


def test_what_cannot_be_meant_is_refused(normal, of_trained):
    for option in (["--write"], ["--test-limit", "5"]):
        done = runner.invoke(app, ["models", "verify", str(normal), *option])
        assert done.exit_code == 2 and f"{option[0]} goes with --strong, which was not given" in done.output
    done = runner.invoke(app, ["models", "verify", str(of_trained), "--strong"])
    assert done.exit_code == 2 and "names no attack, and so no eps" in done.output
