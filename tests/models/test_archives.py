"""A program's archive is looked through before torch reads it: nothing in it runs as code."""

import io
import json
import pickle
import warnings
import zipfile
from contextlib import suppress

import pytest
import torch
from torch import nn

from atviz import models
from atviz.models.archives import checked


@pytest.fixture(scope="module")
def _exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    torch.export.save(
        torch.export.export(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)).eval(),
            (torch.rand(2, 3, 8, 8),),
            dynamic_shapes=({0: torch.export.Dim.AUTO},),
        ),
        path,
    )
    return path


@pytest.fixture
def rewritten(_exported, tmp_path):
    """``rewritten(change, more)``: the path of the archive with its graph changed in place by ``change``, and with ``more`` members."""

    def make(change=lambda graph: None, more=None, without=()):
        path = tmp_path / "changed.pt2"
        with zipfile.ZipFile(_exported) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                inner, content = name.partition("/")[2], old.read(name)
                if inner == "models/model.json":
                    graph = json.loads(content)
                    change(graph)
                    content = json.dumps(graph).encode()
                if inner not in without:
                    new.writestr(name, content)
            root = name.partition("/")[0]
            for inner, content in (more or {}).items():
                new.writestr(f"{root}/{inner}", content)
        return path

    return make


def nodes(graph):
    return graph["graph_module"]["graph"]["nodes"]


def refused(path, message):
    with pytest.raises(ValueError, match=message) as error:
        models.load(f"program:{path}")
    assert "\n" not in str(error.value)


def test_an_archive_of_tensors_and_a_graph_is_copied(_exported):
    ours, theirs = torch.export.load(checked(_exported)), torch.export.load(_exported)
    x = torch.rand(3, 3, 8, 8)
    assert torch.equal(ours.module()(x), theirs.module()(x))
    assert all(torch.equal(tensor, theirs.state_dict[name]) for name, tensor in ours.state_dict.items())


def test_extra_files_are_left_out(rewritten):
    path = rewritten(more={"extra/notes.txt": b"trained on mine"})
    assert [name for name in zipfile.ZipFile(checked(path)).namelist() if "notes" in name] == []
    assert models.load(f"program:{path}").shape == (3, 8, 8)


# --- what would run: first without care, where it goes off


def loaded_without_care(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(Exception):  # what the code returns is no part of a program
            torch.export.load(path).module()(torch.rand(2, 3, 8, 8))


def code(mark):
    return f"__import__('os').mkdir({str(mark)!r})"


def in_guards(graph, mark):
    graph["guards_code"] = [f"{code(mark)} or True"]


def in_sizes(graph, mark):
    values = graph["graph_module"]["graph"]["tensor_values"]
    next(iter(values.values()))["sizes"][0] = {"as_expr": {"expr_str": code(mark), "hint": {"as_int": 2}}}


def in_the_name_of_a_parameter(graph, mark):
    name = f'0.x"), {code(mark)}, getattr(self, "training'
    specs = graph["graph_module"]["signature"]["input_specs"]
    next(spec for spec in specs if "parameter" in spec)["parameter"]["parameter_name"] = name


@pytest.mark.parametrize("place", [in_guards, in_sizes])
def test_code_in_a_graph_does_not_run(rewritten, bomb, place):
    path = rewritten(lambda graph: place(graph, bomb.mark))
    refused(path, "holds the (guards_code|expr_str) .*, which is no part of a network")
    assert not bomb.mark.exists()
    loaded_without_care(path)
    assert bomb.mark.exists()


def test_code_in_a_name_is_refused(rewritten, bomb):
    refused(
        rewritten(lambda graph: in_the_name_of_a_parameter(graph, bomb.mark)), "holds the parameter_name .*, which is no part of a network"
    )


def test_an_object_among_the_constants_is_not_unpickled(rewritten, bomb):
    meta = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    name = "data/constants/model_constants_config.json"
    path = rewritten(more={name: json.dumps({"config": {"k": meta}}), "data/constants/opaque_obj_0": pickle.dumps(bomb)}, without=[name])
    refused(path, "holds 'data/constants/opaque_obj_0', which is more than tensors and a graph")
    assert not bomb.mark.exists()
    loaded_without_care(path)
    assert bomb.mark.exists()


@pytest.mark.parametrize("name", ["data/sample_inputs/model.pt", "data/weights/model.pt", "data/constants/model.pt"])
def test_a_pickle_of_more_than_tensors_is_refused(rewritten, bomb, name):
    held = io.BytesIO()
    torch.save({"a": bomb}, held)
    refused(rewritten(more={name: held.getvalue()}, without=[name]), "holds more than tensors: it holds posix.mkdir, a Python object")
    assert not bomb.mark.exists()


# --- what may not be in an archive


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.load", "torch.load", "torch.ops.load_library", "torch.ops.aten.from_file.default", "torch.ops.aten.__class__.mro",
        "torch.ops.aten.add.__setattr__", "torch.ops.image.read_file.default", "torch.ops.higher_order.triton_kernel_wrapper_functional",
        "_operator.attrgetter", "_operator.methodcaller", "_operator.call", "math.__loader__.load_module", "#mine:op", "builtins.eval", "eval",
    ],
)  # fmt: skip
def test_a_target_that_is_no_operation_on_tensors_is_refused(rewritten, target):
    refused(rewritten(lambda graph: nodes(graph)[0].update(target=target)), "holds the target .*, which is no part of a network")


@pytest.mark.parametrize(
    "text",
    [
        "(eval)((chr)(49))", "s0.__class__", "[s0 for s0 in L]", "lambda: 0", "(lambda x: x)(1)", "open('x')", "L['x'].tolist()", "f'{s0}'",
        "Symbol('a b')", "Symbol(*L)", "s0 := 1", "__import__", "exec", "torch.load(L)", "", "s0 +",
    ],
)  # fmt: skip
def test_an_expression_that_is_no_arithmetic_on_sizes_is_refused(rewritten, text):
    refused(rewritten(lambda graph: graph.update(guards_code=[text])), "holds the guards_code .*, which is no part of a network")


@pytest.mark.parametrize(
    "text",
    ["L['x'].size()[2] >= 3", "(1 + (((-3) + L['x'].size()[3]) // 2)) != 1", "torch.sym_max(1, L['x'].size()[0]) < 2**9", "not (3 == 4)"],
)
def test_arithmetic_on_sizes_is_kept(rewritten, text):
    with zipfile.ZipFile(checked(rewritten(lambda graph: graph.update(guards_code=[text])))) as copy:
        assert json.loads(copy.read("program/models/model.json"))["guards_code"] == [text]


def spec(kind, context="null"):
    return json.dumps([1, {"type": kind, "context": context, "children_spec": []}])


@pytest.mark.parametrize(
    "text",
    [spec("collections.namedtuple"), spec("mine.Output"), spec("builtins.tuple", '{"__enum__": 1, "fqn": "this:x", "name": "y"}'), '"x"'],
)
def test_a_structure_that_torch_would_import_is_refused(rewritten, text):
    def change(graph):
        graph["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = text

    refused(rewritten(change), "holds the out_spec .*, which is no part of a network")


@pytest.mark.parametrize(
    "name", ["data/aotinductor/model/x.so", "data/constants/custom_obj_0", "data/weights/../../x", "models/other.json", "code.py"]
)
def test_a_member_of_another_kind_is_refused(rewritten, name):
    refused(rewritten(more={name: b"x"}), "which is more than tensors and a graph; export the network without it")


def test_a_member_that_is_there_twice_is_refused(rewritten):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = rewritten(more={"models/model.json": b"{}"})
    refused(path, "holds 'models/model.json', which is more than")


def test_an_archive_of_an_older_torch_is_refused_with_what_to_do(tmp_path):
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as old:
        old.writestr("serialized_exported_program.json", "{}")
    refused(tmp_path / "old.pt2", "old.pt2 was written by a torch before 2.7; load it there")


@pytest.mark.parametrize("content", [b"", b"hello, world", b"PK\5\6" + b"\0" * 18], ids=["empty", "text", "an empty archive"])
def test_a_file_that_is_no_program_is_refused(tmp_path, content):
    (tmp_path / "x.pt2").write_bytes(content)
    refused(tmp_path / "x.pt2", "x.pt2 is no program of torch.export .*; torch.export.save writes one")
    torch.save({"a": torch.zeros(2)}, tmp_path / "y.pt2")
    refused(tmp_path / "y.pt2", "y.pt2 is no program of torch.export .it holds no models/model.json")


def test_a_damaged_archive_is_refused(_exported, tmp_path):
    whole = _exported.read_bytes()
    (tmp_path / "cut.pt2").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.pt2", "cut.pt2 is no program of torch.export")
    middle = whole.index(b'"graph_module"')
    (tmp_path / "bits.pt2").write_bytes(whole[:middle] + b"\xff" + whole[middle + 1 :])
    refused(tmp_path / "bits.pt2", "bits.pt2 is no program of torch.export")
