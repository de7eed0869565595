"""The plan of the package: who may import whom, and one public face."""

import ast
import re
from pathlib import Path

import pytest

import nbvae

PACKAGE = Path(nbvae.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MAY_IMPORT = {  # a room, and the rooms it may look into besides itself
    "_messages": set(),
    "files": set(),
    "threads": set(),
    "_arguments": {"_messages"},
    "data": {"_arguments", "_messages"},
    "module": {"_arguments", "_messages", "files", "data"},
    "evaluation": {"_arguments", "threads", "data", "module"},
    "conversion": {"_arguments", "_messages", "data", "module"},
    "decoding": {"_arguments", "_messages", "data", "module"},
    "differential": {"_arguments", "_messages", "data", "module", "evaluation", "decoding"},
    "expression": {"_arguments", "data", "evaluation", "module", "decoding", "differential"},
    "mapping": {"_arguments", "_messages", "data", "module", "evaluation"},
    "new_levels": {"_messages", "data", "module", "train"},
    "train": {"_arguments", "files", "threads", "data", "module", "evaluation"},
    "teaching": {"the face"},
}


def room_of(name):
    """The room of ``nbvae.data.counts`` is "data"; that of ``nbvae`` itself, "the face"."""
    return name.split(".")[1] if "." in name else "the face"


def imports_of(path):
    """The modules of this package that a file imports, by full name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("nbvae"):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("nbvae"))


def name_of(path):
    parts = ("nbvae", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_have_one_direction(path):
    """Else a file could only be understood together with those that build on it."""
    room = room_of(name_of(path))
    if room == "the face":
        assert "teaching" not in {room_of(name) for name in imports_of(path)}
        return
    others = {room_of(name) for name in imports_of(path)} - {room}
    assert others <= MAY_IMPORT[room]


def test_no_circles():
    """Else the order of imports would decide whether the package works."""
    graph = {name_of(path): set(imports_of(path)) for path in FILES}
    done, before = set(), []

    def visit(name):
        assert name not in before, f"{' → '.join(before)} → {name}"
        if name in done or name not in graph:
            return
        before.append(name)
        for other in sorted(graph[name] - {"nbvae", "nbvae.teaching"}):
            visit(other)
        before.pop()
        done.add(name)

    for name in graph:
        visit(name)


def test_files_are_small():
    """Else one idea a file would be a saying."""
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: n for name, n in lines.items() if n > 340} == {}


def test_the_readme_says_what_each_file_is():
    """In its table; a folder stands for what it holds."""
    named, room = set(), ""
    for line in (PACKAGE.parent / "README.md").read_text(encoding="utf-8").splitlines():
        if not (cells := re.match(r"\| (`nbvae/\S*`)? ?\| (`.*?`) \|", line)):
            continue
        room = cells[1].strip("`").removeprefix("nbvae/") if cells[1] else room
        named |= {room + name for name in re.findall(r"`(.*?)`", cells[2])}
    files = {str(path.relative_to(PACKAGE)) for path in FILES if path.name != "__init__.py"}
    folders = tuple(name for name in named if name.endswith("/"))
    assert {file for file in files if not file.startswith(folders)} == named - set(folders)
    assert folders and all((PACKAGE / folder).is_dir() for folder in folders)


def test_every_public_name_is_there():
    """Else `from nbvae import *` or an editor's list would name what does not exist."""
    assert sorted(nbvae.__all__) == sorted(set(nbvae.__all__))
    assert [name for name in nbvae.__all__ if not hasattr(nbvae, name)] == []
