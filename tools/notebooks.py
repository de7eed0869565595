"""Reading and writing the book's notebooks: the same notebook always gives the same bytes."""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"


def chapters(book: Path = BOOK) -> list[Path]:
    """Return the book's notebooks, in the order of their numbers."""
    return sorted(book.glob("*.ipynb"))


def repository(config: Path = ROOT / "_config.yml") -> str:
    """Return the public address of the repository, or "" while there is none."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    return (settings.get("repository") or {}).get("url") or ""


def read(path: Path) -> NotebookNode:
    """Read a notebook; cells without an identifier get one that is the same in every run."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    chapter = re.match(r"\w+?(?=_|$)", path.stem)
    _identify(notebook["cells"], chapter.group() if chapter else path.stem)
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    return nbformat.reads(json.dumps(notebook), as_version=4)


def dumps(notebook: NotebookNode) -> str:
    """Return a notebook as text, one spelling whatever machine it is written on."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_text(dumps(notebook), encoding="utf-8", newline="\n")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def tags(cell: NotebookNode) -> list[str]:
    """Return the tags of a cell."""
    return cell.metadata.get("tags", [])


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _identify(cells: Iterable[dict], chapter: str) -> None:
    taken: set[str] = set()
    fresh = (f"{chapter}-{number:03}" for number in range(1, 10_000))
    known = {cell.get("id") for cell in cells}
    for cell in cells:
        if cell.get("id") is None or cell["id"] in taken:
            cell["id"] = next(name for name in fresh if name not in known)
        taken.add(cell["id"])
