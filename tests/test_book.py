"""The book: every page is there, works without a network, and its links arrive; notebooks and docstrings point at each other."""

import json
import posixpath
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

import atviz

pytest.importorskip("sphinx_codeautolink", reason='the extra "book" is not installed; `make book` installs it')

ROOT = Path(__file__).parents[1]
ROOMS = [room for room in atviz.ROOMS if room != "app"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MARKDOWN = [
    "README",
    "CONTRIBUTING",
    "notebooks/README",
    "notebooks/controls",
    "checkpoints/README",
    "data/fashion/README",
    "benchmarks/README",
]
PAGES = ["index", *MARKDOWN, *(f"notebooks/{path.stem}" for path in NOTEBOOKS), *(f"notebooks/book/{room}" for room in ROOMS)]


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    out = tmp_path_factory.mktemp("book")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "--fail-on-warning",
        "--keep-going",
        "--quiet",
        "-c",
        "notebooks/book",
        "-d",
        str(out / ".cache"),
    ]
    done = subprocess.run([*command, ".", str(out / "html")], cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return out / "html"


@pytest.fixture(scope="module")
def pages(book):
    return {path.relative_to(book).as_posix(): BeautifulSoup(path.read_text(), "html.parser") for path in book.rglob("*.html")}


def aims(page: str, pages: dict, *places: tuple[str, str]) -> list[str]:
    """What a page points at, by tag and attribute."""
    return [element[attribute] for tag, attribute in places for element in pages[page].find_all(tag) if element.get(attribute)]


NEEDED = [("script", "src"), ("link", "href"), ("img", "src"), ("source", "srcset"), ("iframe", "src")]


def test_every_page_is_there_and_in_the_contents(pages):
    assert {f"{page}.html" for page in PAGES} <= set(pages)
    contents = {link["href"] for link in pages["index.html"].select(".sidebar-tree a")}
    assert {f"{page}.html" for page in PAGES} - contents == {"index.html", "README.html"}


def test_nothing_comes_from_outside(book, pages):
    """Links to papers may lead outside; what a page needs to be shown lies in the book."""
    needed = [aim for page in pages for aim in aims(page, pages, *NEEDED)]
    assert len(needed) > 100
    assert [aim for aim in needed if urlsplit(aim).netloc] == []
    inline = [element.string or "" for soup in pages.values() for element in soup.find_all(["script", "style"])]
    loaded = [*inline, *(path.read_text() for path in book.rglob("*.css"))]
    assert [text for text in loaded if re.search(r"""(@import|url\(|import\(|\.src\s*=)\s*["']?(https?:)?//""", text)] == []


def test_no_link_is_broken(book, pages):
    known = {page: {element["id"] for element in soup.find_all(id=True)} for page, soup in pages.items()}
    broken, followed = [], 0
    for page in pages:
        for parts in map(urlsplit, aims(page, pages, ("a", "href"), *NEEDED)):
            if not parts.scheme and not parts.netloc:
                followed += 1
                target = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path))) if parts.path else page
                inside = not target.startswith("..") and (book / target).is_file()
                if not inside or (parts.fragment and target in known and unquote(parts.fragment) not in known[target]):
                    broken.append(f"{page} → {parts.geturl()}")
    assert followed > 1000
    assert broken == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_its_stored_outputs(path, pages):
    cells = json.loads(path.read_text())["cells"]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    body = pages[f"notebooks/{path.stem}.html"].select_one("article")
    figures = [
        output["metadata"].get("image/png", {})
        for cell in cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert [image["alt"] for image in body.select(".cell_output img")] == [
        figure.get("alt", "the panel without a kernel") for figure in figures
    ]
    assert len(body.select(".cell_output table")) >= sum("text/html" in data for data in outputs)
    assert not body.select("script") and "widget-view" not in str(body)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_a_place(room, pages):
    places = {element["id"] for element in pages[f"notebooks/book/{room}.html"].find_all(id=True)}
    module = import_module(f"atviz.{room}")
    missing = [name for name in module.__all__ if not {f"atviz.{room}.{name}", f"module-atviz.{room}.{name}"} & places]
    assert missing == []


@pytest.mark.parametrize(
    ("page", "aim", "shown"),
    [
        ("notebooks/04_saturate", "notebooks/book/papers.html#atviz.papers.zhang_zhu.figure", "zhang_zhu.figure"),  # code of a cell
        ("notebooks/02_saliency", "notebooks/book/saliency.html#atviz.saliency.attribute", "atviz.saliency.attribute"),  # prose
        ("README", "notebooks/book/evidence.html#atviz.evidence.sweep", "evidence.sweep"),  # code of a page
        ("CONTRIBUTING", "notebooks/book/evidence.html#atviz.evidence.INSTRUMENTS", "INSTRUMENTS"),  # a name alone
        ("notebooks/book/attacks", "notebooks/book/attacks.html#atviz.attacks.pgd", "pgd"),  # a docstring, in its own room
        ("notebooks/book/evidence", "notebooks/book/models.html#atviz.models.load", "models.load"),  # and in another
        ("notebooks/book/evidence", "notebooks/book/data.html#atviz.data.Images", "Images"),  # a type
        ("notebooks/book/papers", "notebooks/04_saturate.html", "04 · Saturate"),  # back to a notebook that uses it
    ],
)
def test_names_are_links(page, aim, shown, pages):
    links = [link for link in pages[f"{page}.html"].select("article a[href]") if shown in link.get_text()]
    found = {
        posixpath.normpath(posixpath.join(posixpath.dirname(page), link["href"]))
        if link["href"][0] != "#"
        else f"{page}.html{link['href']}"
        for link in links
    }
    assert any(target.startswith(aim) for target in found)
