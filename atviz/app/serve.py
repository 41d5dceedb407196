"""Opens the explore notebook: in JupyterLab, or as a page without code."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import disk, home
from . import pipeline

LARGEST_MESSAGE = 64 * 2**20  # bytes: an upload that is too large must arrive to be refused in words; tornado drops the page at 10 MiB


def prepare(given: Mapping[str, Any]) -> Path:
    """A copy of 11_explore with these values of its parameters, in ``results/explore``: the one that ships stays as it is.

    It is named by the notebook's code and the values. One that is there, and may have been edited, is left alone.
    """
    import nbformat
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    (shipped,) = pipeline.choose(["11_explore"])
    notebook = nbformat.read(shipped, as_version=4)
    digest = hashlib.sha256(json.dumps([pipeline.source_digest(notebook), dict(given)], sort_keys=True).encode()).hexdigest()[:6]
    target = home() / "results" / "explore" / f"11_explore-{digest}.ipynb"
    if not target.exists():
        if given:
            notebook = load_notebook_node(str(shipped))
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None  # those are of the defaults
            notebook = parameterize_notebook(notebook, dict(given))
        disk.write(target, nbformat.writes(notebook))
    return target


def environment(notebook: Path) -> dict[str, str]:
    """What the server, and through it the notebook, must know: this home, and where JupyterLab's server shows the notebook as a page."""
    return {"ATVIZ_HOME": str(home()), "ATVIZ_PAGE": f"/voila/render/{notebook.name}"}


def command(notebook: Path, *, page: bool, port: int = 0, browser: bool = True) -> list[str]:
    """The command that opens a notebook: JupyterLab, or with ``page`` Voila. Both answer on loopback alone, and ask for a token.

    ``port`` 0 is the server's own choice; ``$JUPYTER_TOKEN``, where it is set, is the token.
    """
    server = "Voila" if page else "ServerApp"
    options = [f"--{server}.tornado_settings={{'websocket_max_message_size': {LARGEST_MESSAGE}}}", f"--{server}.ip=127.0.0.1"]
    options += [f"--{server}.port={port}"] if port else []
    options += [] if browser else ["--no-browser"]
    if page:
        # a page that was left does not keep its kernel
        culling = ["--MappingKernelManager.cull_interval=60", "--MappingKernelManager.cull_idle_timeout=600"]
        files = "--VoilaConfiguration.file_allowlist=^$"  # the page needs none: not another visitor's uploads
        return [sys.executable, "-m", "voila", str(notebook), "--token", files, *culling, *options]
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # as in a container; only this machine is answered
    return [sys.executable, "-m", "jupyterlab", str(notebook), f"--ServerApp.root_dir={notebook.parent}", *root, *options]
