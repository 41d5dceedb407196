"""Executes one notebook with papermill, in a kernel of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import disk, home
from .engines import Failed

QUIET = ["--log-level=CRITICAL"]  # ipykernel warns of listening on loopback, and calls the interrupt that ends it an error
TIMEOUT = 6 * 3600  # seconds of one cell
VIEW = "application/vnd.jupyter.widget-view+json"


def execute(notebook: Path, target: Path, values: dict[str, Any], timeout: int = TIMEOUT) -> None:
    """Execute a notebook with these parameters and write it to ``target``, below a run's folder, without what it wrote there before.

    Raises:
        Failed: a cell raised an error or took more than ``timeout`` seconds, or the kernel died; ``target`` holds the outputs until then.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    folder = target.parent.parent
    for pattern in (f"figures/{notebook.stem}_*", f"tables/{notebook.stem}_*", f"findings/{notebook.stem}.json"):
        for old in folder.glob(pattern):
            old.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shown = options(notebook)
        with for_kernels():
            papermill.execute_notebook(notebook, target, values, cwd=str(Path.cwd()), execution_timeout=timeout, **shown)
    except PapermillExecutionError as error:
        raise Failed(f"{error.ename}: {error.evalue} (cell {error.cell_index})") from error
    except CellTimeoutError as error:
        raise Failed(f"a cell took more than {timeout} seconds; --timeout gives it more") from error
    except DeadKernelError as error:
        raise Failed("its kernel died, as it does when memory does not suffice") from error
    finally:
        _settle(target)


def refreshed(notebook: Path) -> Any:
    """The notebook, executed with its own defaults."""
    import papermill

    shown = options(notebook)
    with for_kernels():
        executed = papermill.execute_notebook(notebook, None, **shown)
    without_views(executed)
    return executed


def options(notebook: Path) -> dict[str, Any]:
    """Papermill's options. Its bar is drawn where there is somebody to see it."""
    bar = {"desc": notebook.stem, "disable": True if os.environ.get("TQDM_DISABLE") else None}
    return {"kernel_name": "python3", "progress_bar": bar, "extra_arguments": QUIET, "store_widget_state": False}


@contextmanager
def for_kernels() -> Iterator[None]:
    """What kernels inherit while this lasts: no progress bars among the outputs, and the same folders as this process."""
    before = dict(os.environ)
    os.environ |= {"TQDM_DISABLE": "1", "ATVIZ_HOME": str(home())}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _settle(target: Path) -> None:
    """Drop the views of widgets from an executed notebook: their kernel is gone, and only the picture beside each can be shown."""
    import nbformat

    if target.is_file():
        notebook = nbformat.read(target, as_version=4)
        without_views(notebook)
        disk.write(target, nbformat.writes(notebook))


def without_views(notebook: Any) -> None:
    """Take the views of widgets out of a notebook's outputs, where another representation is beside them."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if len(output.get("data", {})) > 1:
                output["data"].pop(VIEW, None)
