"""The book: the notebooks, the pages beside them and the docstrings as one static site. `make book` builds it with Sphinx."""

import json
import re
import shutil
from importlib import import_module
from inspect import isclass, ismodule, isroutine
from pathlib import Path

from docutils import nodes
from sphinx.util.inspect import object_description
from sphinx.util.nodes import make_refnode

import atviz

ROOT = Path(__file__).parents[2]
ROOMS = [room for room in atviz.ROOMS if room != "app"]  # the command line has no names to import
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
PAGES = ["notebooks/README", "notebooks/controls", "checkpoints/README", "data/fashion/README", "benchmarks/README", "CONTRIBUTING"]

project, author, copyright = "atviz", "atviz", ""
version = release = atviz.__version__
root_doc = "README"
include_patterns = [*(f"{page}.md" for page in [root_doc, *PAGES]), "notebooks/*.ipynb", "notebooks/book/*.rst"]
exclude_patterns = [".*", "*.egg-info", "results", "dist", "data/cache", "data/downloads"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_codeautolink"]

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_title = f"atviz {version}"
html_copy_source = html_show_sphinx = html_show_copyright = False

nb_execution_mode = "off"  # the pages show the outputs that the notebooks are committed with
nb_render_markdown_format = "myst"
nb_ipywidgets_js = {}  # without a kernel, a widget is the still picture beside it
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
myst_heading_anchors = 4

default_role = "code"  # `pgd` names something, ``x`` is code
napoleon_custom_sections = ["Returns"]  # what stands before its colon is no type
autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_member_order = "bysource"
codeautolink_concat_default = True  # the cells of a notebook follow each other
codeautolink_custom_blocks = {"ipython3": None, "ipython": None}
codeautolink_autodoc_inject = True  # below a docstring: the notebooks that use the name
suppress_warnings = ["codeautolink.parse_block"]  # CONTRIBUTING shows one row of a dictionary, which is no program

PUBLIC = {
    f"atviz.{room}.{name}": getattr(module, name)
    for room in ROOMS
    for module in [import_module(f"atviz.{room}")]
    for name in module.__all__
}
# where a class, a method or a function is written → where it is documented
codeautolink_inventory_map = {
    f"{thing.__module__}.{thing.__qualname__}{inner}": name + inner
    for name, thing in PUBLIC.items()
    if hasattr(thing, "__qualname__")
    for inner in ["", *(f".{method}" for method in vars(thing))]
}


def known_as() -> dict[str, str]:
    """What a page may call a public name → the name in full: `atviz.evidence.sweep`, `evidence.sweep`, and `cue_conflict`.

    A plain word alone is no link: most words in backticks are recipes, profiles and commands.
    """
    alone = [name.rpartition(".")[2] for name in PUBLIC]
    found = {name: full for name, full in zip(alone, PUBLIC, strict=True) if alone.count(name) == 1 and not re.fullmatch("[a-z]+", name)}
    return found | {name.removeprefix("atviz."): name for name in PUBLIC} | {name: name for name in PUBLIC}


def add_contents(app, docname, source):
    """The table of contents stands behind the README, so that the README itself stays plain Markdown."""
    if docname == root_doc:
        parts = {
            "Notebooks": [f"{name} <notebooks/{name}>" for name in NOTEBOOKS],
            "Pages": PAGES,
            "From Python": [f"notebooks/book/{room}" for room in ROOMS],
        }
        for title, entries in parts.items():
            source[0] += "\n\n```{toctree}\n:hidden:\n:caption: " + title + "\n\n" + "\n".join(entries) + "\n```\n"


def describe_figures(app, doctree):
    """A figure's description, which is written beside it in a notebook, is what a screen reader says."""
    name = Path(app.env.docname)
    if name.parent != Path("notebooks") or name.name not in NOTEBOOKS:
        return
    cells = json.loads((ROOT / f"{name}.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    shown = [
        image for bundle in doctree.findall(nodes.container) if "cell_output" in bundle["classes"] for image in bundle.findall(nodes.image)
    ]
    for image, output in zip(shown, outputs, strict=True):
        image["alt"] = output["metadata"].get("image/png", {}).get("alt", "the panel without a kernel")


def fit_docstring(app, what, name, obj, options, lines):
    """A docstring as reStructuredText: a module lists its constants, too, and |map| is an absolute value, not a substitution."""
    bars = r"(`+).*?\1|\|"
    lines[:] = [line if ">>>" in line else re.sub(bars, lambda found: r"\|" if found[0] == "|" else found[0], line) for line in lines]
    if what == "module":
        names = getattr(obj, "__all__", [name for name in vars(obj) if re.fullmatch("[A-Z][A-Z_0-9]*", name)])
        for name, value in ((name, getattr(obj, name)) for name in names):
            if not (isclass(value) or ismodule(value) or isroutine(value)):
                shown = object_description(value)
                lines += [
                    "",
                    f".. py:data:: {name}",
                    *([f"   :value: {shown}"] if len(shown) < 100 and not isinstance(value, Path) else []),
                ]


def link_names(app, doctree, docname):
    """Inline code that is a public name becomes a link to its docstring."""
    names, known = known_as(), app.env.get_domain("py").objects
    for code in list(doctree.findall(nodes.literal)):
        word = code.astext().partition("(")[0]
        target = names.get(word, word)
        if "code" in code["classes"]:  # in a docstring, where the names of its own room stand alone
            target = next((name for name in [f"atviz.{Path(docname).name}.{word}"] if name in known), target)
        if target in known and not isinstance(code.parent, nodes.reference):
            entry = known[target]
            code.replace_self(make_refnode(app.builder, docname, entry.docname, entry.node_id, code.deepcopy(), target))


def link_types(app, env, node, content):
    """A type of a signature is known by the file that it is written in."""
    entry = env.get_domain("py").objects.get(codeautolink_inventory_map.get(node["reftarget"]))
    return entry and make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, node["reftarget"])


def copy_start(app, error):
    """A folder is opened at its index.html."""
    if not error and app.builder.name == "html":
        shutil.copy(Path(app.outdir, f"{root_doc}.html"), Path(app.outdir, "index.html"))


def setup(app):
    app.connect("source-read", add_contents)
    app.connect("doctree-read", describe_figures)
    app.connect("autodoc-process-docstring", fit_docstring)
    app.connect("doctree-resolved", link_names)
    app.connect("missing-reference", link_types)
    app.connect("build-finished", copy_start)
