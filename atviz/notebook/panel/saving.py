"""What the explore panel gives away: the link to a state, and the files of a saved figure."""

from __future__ import annotations

import base64
import hashlib
import html
import os

import pandas as pd

from ... import disk, home
from ...evidence import Study
from .. import explore, figures
from ..explore import State
from ..page import Page


def link(state: State) -> str:
    """The address of a page in this state; "" where no page is served.

    In Voila it is the page itself. In the JupyterLab that `atviz explore` opened, the same server shows the notebook as a page.
    """
    page = "" if os.environ.get("VOILA_REQUEST_URL") else os.environ.get("ATVIZ_PAGE")
    return "" if page is None else f"{page}?{state.query or 'image=0'}"


def file_name(state: State) -> str:
    """A name for the files of a state: the same for the same state."""
    return hashlib.sha256(state.query.encode()).hexdigest()[:8]


def saved(study: Study, page: Page, state: State) -> str:
    """Write the figure of a state to ``results/explore``: as SVG, as PNG, and its settings as a row (CSV).

    Returns HTML that offers the three files and shows the Python that draws the figure again. The files are offered even if they could
    not be written.
    """
    figure, caption = explore.figure(study, state), explore.caption(study, state, explore.explore(study, state))
    files = {kind: figures.rendered(figure, kind, caption=caption) for kind in ("svg", "png")}
    files["csv"] = pd.DataFrame([explore.row(study, state, page.settings)]).to_csv(index=False).encode()
    folder, name = home() / "results" / "explore", f"explore-{file_name(state)}"
    kept = "also in results/explore"
    try:
        for kind, content in files.items():
            disk.write(folder / f"{name}.{kind}", content)
    except OSError as error:
        kept = f"not in results/explore: {html.escape(str(error))}"
    kinds = {"svg": "image/svg+xml", "png": "image/png", "csv": "text/csv"}
    links = " · ".join(
        f'<a download="{name}.{kind}" href="data:{kinds[kind]};base64,{base64.b64encode(content).decode()}">{kind.upper()}</a>'
        for kind, content in files.items()
    )
    code = html.escape(explore.code(state, page.settings))
    return f"{links} ({kept})<pre style='font-size:11px;line-height:1.3'>{code}</pre>"
