"""Programs of `torch.export`, looked through before torch reads them: what could run as code is refused, and the rest is written anew.

torch unpickles objects in such an archive, evaluates its expressions, and makes Python code of its names. Here each text is compared with
what a network needs. torch then reads a copy that this file wrote, so that it cannot read the archive in another way.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch._ops import OpOverload

from .weights import refused, tensors_only

MEMBERS = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/version|models/model\.json|data/sample_inputs/model\.pt"
    r"|data/(?:weights|constants)/(?:weight_\d+|tensor_\d+|model\.pt|model_(?:weights|constants)_config\.json)"
)
IGNORED = re.compile(r"extra/.*|\.data/serialization_id|.*/")  # of no use to a network
GRAPH = "models/model.json"
OLD = "serialized_exported_program.json"  # in an archive that torch wrote before 2.7
PLAIN = re.compile(r"[\w.@+-]*")  # names of tensors and parameters
QUOTED = re.compile(r"[^\"'\\\x00-\x1f]*")  # an argument of an operation, such as bicubic
NAMESPACES = ("aten", "prims", "torchvision")
HIGHER = ("wrap_with_set_grad_enabled", "wrap_with_autocast", "cond")
OPERATORS = (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "neg",
    "pos",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "and_",
    "or_",
    "getitem",
)
SIZES = ("sym_float", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not", "sym_sqrt", "sym_sum", "_sym_sqrt")
SYMBOLIC = {*(f"_operator.{name}" for name in OPERATORS), *(f"torch.{name}" for name in SIZES), "math.ceil", "math.floor", "math.trunc"}
FUNCTIONS = {
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Abs", "Max", "Min", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not",
    "Equality", "Unequality", "LessThan", "GreaterThan", "StrictLessThan", "StrictGreaterThan", "FloorDiv", "CeilDiv", "CleanDiv", "Mod",
    "PythonMod", "ModularIndexing", "Where", "CeilToInt", "FloorToInt", "TruncToInt", "TruncToFloat", "RoundToInt", "ToFloat", "IntTrueDiv",
    "FloatTrueDiv", "PowByNatural", "FloatPow", "Identity", "LShift", "RShift",
}  # fmt: skip
METHODS = {"size", "stride", "storage_offset", "sym_max", "sym_min", "sym_not", "sym_ite", "sym_float", "sym_int", "floor", "ceil", "trunc"}
EXPRESSIONS = (
    ast.Expression, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.keyword, ast.Subscript, ast.Attribute, ast.Name,
    ast.Constant, ast.boolop, ast.operator, ast.unaryop, ast.cmpop, ast.Load,
)  # fmt: skip
SPECS = re.compile(r"builtins\.(?:tuple|list|dict)|collections\.OrderedDict")
CONTEXTS = re.compile(r"null|\[(?:\"[\w.]+\"(?:, )?)*\]")


def checked(path: Path) -> io.BytesIO:
    """A copy of a program's archive, with nothing in it but tensors and a graph of torch's operations, on the CPU.

    Raises:
        ValueError: in one sentence, what the file holds besides, or that it is no program.
    """
    copy = io.BytesIO()
    try:
        with zipfile.ZipFile(path) as given, zipfile.ZipFile(copy, "w") as written:
            names = [name for name in given.namelist() if not name.endswith("/")]
            root = names[0].partition("/")[0] if names else ""
            if OLD in names:
                raise ValueError(
                    f"{path} was written by a torch before 2.7; load it there, export the network again and save it with this one"
                )
            inner = [name.removeprefix(f"{root}/") for name in names]
            if GRAPH not in inner:
                raise ValueError(f"{path} is no program of torch.export (it holds no {GRAPH}); torch.export.save writes one")
            for name in inner:
                if inner.count(name) > 1 or not (MEMBERS.fullmatch(name) or IGNORED.fullmatch(name)):
                    raise ValueError(f"{path} holds {name[:80]!r}, which is more than tensors and a graph; export the network without it")
            for whole, name in zip(names, inner, strict=True):
                if not IGNORED.fullmatch(name):
                    written.writestr(f"program/{name}", _checked(name, given.read(whole), path))
    except (zipfile.BadZipFile, zlib.error, json.JSONDecodeError, UnicodeDecodeError, EOFError, RuntimeError) as error:
        raise ValueError(f"{path} is no program of torch.export ({error}); torch.export.save writes one") from error
    copy.seek(0)
    return copy


def _checked(name: str, content: bytes, path: Path) -> bytes:
    if name.endswith(".json"):
        return json.dumps(_value("", json.loads(content), path)).encode()
    if name.endswith(".pt"):
        try:
            with tensors_only():
                held = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # torch has many for a damaged pickle
            raise ValueError(f"{path} holds more than tensors: {refused(error) or error}") from error
        again = io.BytesIO()
        torch.save(held, again)
        return again.getvalue()
    return content


def _value(key: str, value: Any, path: Path) -> Any:
    """A part of a graph's description as it may be read; ValueError for one that could run as code."""
    if key in ("metadata", "treespec_namedtuple_fields"):  # where a node came from
        return {}
    if key in ("device", "as_device"):
        return {"type": "cpu", "index": None}
    if isinstance(value, dict):
        return {name: _value(name if _good("", name) else _refuse("name", name, path), item, path) for name, item in value.items()}
    if isinstance(value, list):
        return [_value(key, item, path) for item in value]
    wrong = key in ("custom_obj_name", "class_fqn") or (key == "use_pickle" and value)
    if wrong or (isinstance(value, str) and not _good(key, value)):
        _refuse(key, value, path)
    return value


def _refuse(key: str, value: Any, path: Path) -> Any:
    raise ValueError(f"{path} holds the {key} {str(value)[:60]!r}, which is no part of a network; export it with torch.export alone")


def _good(key: str, text: str) -> bool:
    """Whether a text is what torch writes under this key, and nothing that could do more."""
    if key in ("expr_str", "guards_code"):
        return _is_arithmetic(text)
    if key in ("target", "as_operator"):
        return _is_operation(text)
    if key in ("in_spec", "out_spec"):
        return _is_spec(json.loads(text))
    if key in ("as_string", "as_strings"):
        return QUOTED.fullmatch(text) is not None
    if key == "path_name":
        return re.fullmatch(r"(?:weight|tensor)_\d+", text) is not None
    return PLAIN.fullmatch(text) is not None


def _is_operation(text: str) -> bool:
    """Whether a target is an operation on tensors or arithmetic on sizes. ``from_file`` opens files."""
    parts = text.split(".")
    if parts[:2] != ["torch", "ops"]:
        return text in SYMBOLIC
    if parts[2:3] == ["higher_order"]:
        return len(parts) == 4 and parts[3] in HIGHER
    if len(parts) != 5 or parts[2] not in NAMESPACES or parts[3] == "from_file":
        return False
    found: Any = torch.ops
    for part in parts[2:]:
        found = getattr(found, part, None)
    return isinstance(found, OpOverload)


def _is_arithmetic(text: str) -> bool:
    """Whether an expression computes with sizes alone: ``s0 // 2 + 1``, ``Max(1, s0)``, ``L['x'].size()[2] >= 3``."""
    try:
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError, MemoryError):
        return False
    return all(isinstance(node, EXPRESSIONS) and _is_size(node) for node in nodes)


def _is_size(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in FUNCTIONS or re.fullmatch(r"L|torch|math|int_oo|oo|true|false|[a-z]{1,4}\d+", node.id) is not None
    if isinstance(node, ast.Attribute):
        return node.attr in METHODS
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) or (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) or (isinstance(node.value, str) and re.fullmatch(r"[\w.+-]+", node.value) is not None)
    return True


def _is_spec(spec: Any) -> bool:
    """Whether the structure of inputs or outputs is of tuples, lists and dicts; of other types torch would import the module."""
    if isinstance(spec, list):
        return all(isinstance(item, int) or _is_spec(item) for item in spec)
    if not isinstance(spec, dict) or not {"type", "context", "children_spec"} >= set(spec):
        return False
    kind, context = spec.get("type"), spec.get("context")
    return (kind is None or (isinstance(kind, str) and SPECS.fullmatch(kind) is not None)) and (
        context is None or (isinstance(context, str) and CONTEXTS.fullmatch(context) is not None)
    ) and _is_spec(spec.get("children_spec"))  # fmt: skip
