"""Links to a state, and names of its files."""

import pytest

from atviz.notebook.explore import State, says_a_state
from atviz.notebook.panel.saving import file_name, link


@pytest.fixture(autouse=True)
def _no_server(monkeypatch):
    for name in ("ATVIZ_PAGE", "VOILA_REQUEST_URL"):
        monkeypatch.delenv(name, raising=False)


def test_a_link_opens_the_same_state_where_a_page_is_served(monkeypatch):
    median = State(levels={"median_filter": 1})
    assert link(State()) == ""  # no page is served
    monkeypatch.setenv("ATVIZ_PAGE", "/voila/render/11_explore.ipynb")
    assert link(median) == "/voila/render/11_explore.ipynb?median_filter=1"
    monkeypatch.setenv("VOILA_REQUEST_URL", "http://127.0.0.1/")
    for state in (State(image="4"), State(), median):
        address = link(state)
        assert address.startswith("?")
        assert says_a_state(address.lstrip("?"))
        assert State.of(address) == state


def test_a_state_names_its_files():
    assert file_name(State(image="4")) == file_name(State.of("image=4"))
    assert file_name(State(image="4")) != file_name(State(image="5"))
