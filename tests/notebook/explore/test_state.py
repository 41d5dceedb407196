"""A state: as values, as a link and as code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atviz.notebook.explore import MAPS, State, active, rows, says_a_state

ROUNDED = lambda value: float(f"{value:g}")
LEVELS = {i.name: st.floats(0, max(i.levels)).map(ROUNDED) | st.sampled_from(i.levels) for i in rows().values()}
states = st.builds(
    State,
    image=st.integers(0, 10**4).map(str) | st.just("upload-0123456789ab"),
    models=st.sampled_from([(), ("normal", "pgd-inf-0.1", "spatial"), ("normal", "underfit")]),
    levels=st.fixed_dictionaries({}, optional=LEVELS),
    style=st.sampled_from(["drawn", "3"]),
    redraw=st.integers(0, 99),
    eps=st.floats(0, 1).map(ROUNDED),
    steps=st.integers(1, 50),
    method=st.sampled_from(list(MAPS)),
    scale=st.sampled_from(["map", "shared"]),
)


@given(states)
def test_a_link_and_a_line_of_code_say_the_whole_state(state):
    assert State.of(state.query) == state
    assert State.of(f"?token=abc&{state.query}") == state  # a server's own part of the query is left alone
    assert eval(state.code) == state
    assert says_a_state(state.query) == bool(state.query)


def test_a_link_rounds_its_numbers_and_code_does_not():
    state = State(levels={"saturate": 1024, "gaussian_blur": 1 / 3}, eps=3 * 0.1)
    assert state.query == "eps=0.3&saturate=1024&gaussian_blur=0.333333"
    assert eval(state.code) == state


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"levels": {"saturate": -1.0}}, "saturate is -1"),
        ({"levels": {"saturate": float("nan")}}, "saturate is nan"),
        ({"levels": {"saturate": float("inf")}}, "saturate is inf; it must be between 0 and 10240"),
        ({"levels": {"low_pass": float("nan")}}, "low_pass is nan"),
        ({"levels": {"saturation": 4.0}}, "unknown distortion 'saturation'; did you mean 'saturate'?"),
        ({"levels": {"low_pass_code": 4.0}}, "unknown distortion 'low_pass_code'; did you mean 'low_pass'?"),
        ({"levels": {"sparsity": 4.0}}, "unknown distortion 'sparsity'"),
        ({"method": "Magic"}, "method is 'Magic'; it must be one of Grad"),
        ({"models": ("normal", "normal")}, "at most three different"),
        ({"style": "red"}, "style is 'red'"),
        ({"style": ""}, "style is ''"),
        ({"eps": 8.0}, "eps is 8.0; it must be between 0 and 1"),
        ({"image": "../../etc/passwd"}, "image is"),
        ({"steps": 10**9}, "between 1 and 200"),
        ({"redraw": -1}, "redraw is -1"),
        ({"scale": "none"}, "scale is 'none'"),
    ],
)
def test_values_that_cannot_be_are_refused_in_a_sentence(changes, said):
    with pytest.raises(ValueError, match=said):
        State(**changes)


@pytest.mark.parametrize("query", ["steps=2.5", "saturate=much", "patch_shuffle=x", "eps=", "redraw=1.0"])
def test_a_link_that_cannot_be_read_names_the_value(query):
    name, _, value = query.partition("=")
    if not value:  # nothing was given for it
        assert State.of(query) == State()
        return
    with pytest.raises(ValueError, match=f"{name} is {value!r}; it must be a"):
        State.of(query)


def test_levels_that_change_nothing_are_left_out_and_the_others_are_in_the_order_of_the_sliders():
    original = {i.name: i.original for i in rows().values() if i.original is not None}
    assert State(levels=original) == State()
    assert State().query == "" and State().code == "State()"
    given = {"reverse": 1, "patch_shuffle": 2, "saturate": 64, "stylize": 0}
    state = State(levels=given)
    assert [name for name, _ in active(state)] == ["stylize", "saturate", "patch_shuffle", "reverse"]
    assert state == State(levels=dict(reversed(given.items())))
    assert state.query == "stylize=0&saturate=64&patch_shuffle=2&reverse=1"
    assert (state.level("saturate"), state.level("gaussian_blur"), state.level("low_pass")) == (64.0, 0, None)


def test_a_query_of_other_names_says_no_state():
    assert not says_a_state("token=abc&levels=3&level=2")
    assert says_a_state("token=abc&saturate=3") and says_a_state("image=3")
    assert State.of("levels=3&low_pass_code=4") == State()
