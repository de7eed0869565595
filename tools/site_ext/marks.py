"""What the text can name: equations, figures, exercises and the words of the glossary."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from docutils.nodes import make_id
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

TAGGED = re.compile(
    r"\$\$(?P<formula>(?:(?!\$\$).)*?\\tag\{(?P<number>\d+\.\d+)\}.*?)\$\$", re.DOTALL
)
CAPTION = re.compile(r"\*\*Figure (?P<number>\d+\.\d+)\.\*\* (?P<text>.*)")
EXERCISE = re.compile(r"^### Exercise (?P<number>\d+\.\d+) · (?P<title>.*)", re.MULTILINE)
TERM = re.compile(r"^\*\*(?P<name>.+?)\.\*\* (?P<text>.*)$", re.MULTILINE)
CHAPTER = re.compile(r"\s*\[Chapter \d+\]\([^)]*\)\s*$")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True)
class Mark:
    """Something that has a place in the book, and what a reader sees who points at its name."""

    key: str  # its id on its page: equation-4-7, figure-2-3, exercise-5-1, term-batch-effect
    page: str  # book/04_inference
    preview: str  # HTML; pictures by the name that they have in the site


@dataclass(frozen=True)
class Marks:
    """All of them, by what they are called in the text."""

    numbered: dict[tuple[str, str], Mark]  # ("figure", "2.3")
    terms: dict[str, Mark]  # by the word as it is searched for, in lower case or as an initialism
    sections: dict[str, list[tuple[str, str]]]  # of each page: id and text, in order


def collect(book: Path) -> Marks:
    """Read the notebooks and the glossary of a book's folder."""
    numbered: dict[tuple[str, str], Mark] = {}
    sections = {}
    for path in sorted(book.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sections[path.stem] = in_sections(cells)
        for kind, number, preview in in_chapter(cells):
            key = f"{kind}-{number.replace('.', '-')}"
            numbered[kind, number] = Mark(key, f"book/{path.stem}", preview)
    glossary = book / "glossary.md"
    text = glossary.read_text(encoding="utf-8") if glossary.exists() else ""
    return Marks(numbered, dict(in_glossary(text)), sections)


def in_chapter(cells: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Yield kind, number and preview of what a chapter numbers."""
    picture = ""
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            picture = drawn(cell) or picture
            continue
        for found in TAGGED.finditer(source):
            yield "equation", found["number"], rf"<p>\[{escape(found['formula'].strip())}\]</p>"
        for found in CAPTION.finditer(source):
            caption = f"<b>Figure {found['number']}.</b> {inline(found['text'])}"
            yield "figure", found["number"], f"{picture}<p>{caption}</p>"
        for found in EXERCISE.finditer(source):
            title = f"<b>Exercise {found['number']}.</b> {inline(found['title'])}"
            yield "exercise", found["number"], f"<p>{title}</p>"


def in_sections(cells: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return id and text of a chapter's sections."""
    text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)[1:]
    return [(make_id(title), body) for title, body in zip(parts[::2], parts[1::2], strict=True)]


def section_of(name: str, sections: list[tuple[str, str]]) -> str:
    """Return the id of the section that explains a word: has it in bold, or else has it first."""
    word = re.escape(name)
    for pattern in (rf"\*\*[^*]*\b{word}", rf"\b{word}"):
        for key, text in sections:
            if re.search(pattern, text, re.IGNORECASE):
                return key
    return ""


def drawn(cell: dict[str, Any]) -> str:
    """Return the first picture of a cell's outputs, under the name that MyST-NB gives it."""
    about = cell["metadata"].get("mystnb", {})
    alt = about.get("image", {}).get("alt", "")
    for output in cell["outputs"]:
        if data := output.get("data", {}).get("image/png"):
            name = hashlib.sha256(base64.b64decode("".join(data))).hexdigest()
            return f'<img src="{name}.png" alt="{escape(alt)}">'
    return ""


def in_glossary(text: str) -> Iterator[tuple[str, Mark]]:
    """Yield each name of each term; a name in brackets counts if it is an abbreviation."""
    for found in TERM.finditer(text):
        name, _, other = found["name"].rstrip(")").partition(" (")
        preview = f"<p><b>{escape(name)}.</b> {inline(CHAPTER.sub('', found['text']))}</p>"
        mark = Mark(term_key(found["name"]), "book/glossary", preview)
        if not other.startswith(("of ", "layer")):  # a word with other meanings, too
            yield (name if initialism(name) else name.lower()), mark
            if initialism(other):
                yield other, mark


def term_key(name: str) -> str:
    """Return the id of a term of the glossary."""
    return "term-" + re.sub(r"[^a-z0-9]+", "-", name.partition(" (")[0].lower()).strip("-")


def initialism(word: str) -> bool:
    """Whether a word is written in capitals, such as ELBO or PCA."""
    return len(word) > 1 and word.isupper() and word.isascii()


def inline(markdown: str) -> str:
    r"""Return a line of Markdown as HTML: links lose their target, formulas become \(…\)."""
    renderer = MarkdownIt().use(dollarmath_plugin, renderer=_formula)
    return renderer.renderInline(LINK.sub(r"\1", markdown))


def _formula(content: str, options: dict[str, Any]) -> str:
    return rf"\({escape(content)}\)"
