"""Where a run came from."""

import ast
import re
import shlex
import subprocess

from atviz.app import origin
from atviz.app.cli import app
from atviz.notebook import Settings


def test_the_command_makes_the_same_settings_again():
    settings = Settings(
        profile="smoke", models=("normal", "pgd-inf-0.1"), test_limit=60, alpha=0.5, styles="my styles", subject="pgd-inf-0.1"
    )
    given = {"levels": [2.0, 4.0], "name": "it's"}
    words = shlex.split(origin.command(settings, given, ["02_saliency", "04_saturate"], "r"))
    assert words[:2] == ["atviz", "run"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options["--notebooks"] == "02_saliency,04_saturate" and options["--name"] == "r"
    again = {name[2:].replace("-", "_"): value for name, value in options.items() if name not in ("--notebooks", "--name", "--set")}
    kinds = {"models": lambda text: tuple(text.split(",")), "test_limit": int, "alpha": float}
    assert Settings(**{name: kinds.get(name, str)(value) for name, value in again.items()}) == settings
    sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert {name: ast.literal_eval(value) for name, _, value in (text.partition("=") for text in sets)} == given
    assert origin.command(Settings(), {}, [], "q") == "atviz run --name q"


def test_every_setting_has_an_option():
    import typer

    options = {o for p in typer.main.get_command(app).commands["run"].params for o in p.opts}
    words = {word for word in shlex.split(origin.command(Settings(seed=1, size=8, adain="x", styles="y"), {}, [], "r")) if word[:2] == "--"}
    assert words <= options


def test_the_commit_is_that_of_the_checkout(tmp_path):
    assert origin.commit(tmp_path) == ""
    git = lambda *words: subprocess.run(
        ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True
    )
    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "x")
    assert re.fullmatch(r"[0-9a-f]{12}", origin.commit(tmp_path))
    (tmp_path / "a").write_text("2")
    assert re.fullmatch(r"[0-9a-f]{12} with changes", origin.commit(tmp_path))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", origin.now())
