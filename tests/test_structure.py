"""The plan of the package: who may import whom, and one public face."""

import ast
import re
from pathlib import Path

import pytest

import nbvae

PACKAGE = Path(nbvae.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = (  # a room imports from those below, never from one beside it: CONTRIBUTING.md
    {"_messages", "files", "threads"},
    {"_arguments"},
    {"data"},
    {"module"},
    {"train", "evaluation", "differential", "conversion"},
    {"expression", "mapping", "new_levels"},
    {"the face"},
    {"teaching"},
)
HEIGHT = {room: height for height, layer in enumerate(LAYERS) for room in layer}
ONLY_FACE = "teaching"


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
def test_imports_go_down(path):
    """Else a file could only be understood together with those that build on it."""
    room = room_of(name_of(path))
    others = {room_of(name) for name in imports_of(path)} - {room}
    assert [other for other in others if HEIGHT[other] >= HEIGHT[room]] == []
    if room == ONLY_FACE:
        assert others <= {"the face"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_stand_at_the_top(path):
    """Else a climb could hide in a function until it is called."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {node for top in tree.body for node in ast.walk(top) if node is not top}
    hidden = [node for node in inside if isinstance(node, ast.ImportFrom) and node.module]
    assert [node.module for node in hidden if node.module.startswith("nbvae")] == []


def test_contributors_read_the_layers_that_hold():
    """CONTRIBUTING.md draws them from the top down, a line each."""
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawing = text.partition("```text\n")[2].partition("```")[0].splitlines()
    drawn = [set(re.findall(r"[a-z_]+", line.partition("  ")[0])) for line in drawing]
    names = {"the face": "__init__"}
    assert drawn == [{names.get(room, room) for room in layer} for layer in reversed(LAYERS)]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md"])
def test_named_files_are_there(page):
    """Else a contributor would be sent to a file that was moved."""
    root = PACKAGE.parent
    names = re.findall(r"`([\w/*.]+\.py)`", (root / page).read_text(encoding="utf-8"))
    assert len(names) > 20
    places = (root, PACKAGE, root / "tests")
    gone = [name for name in names if not any(any(place.glob(name)) for place in places)]
    assert [name for name in gone if not any(PACKAGE.rglob(name))] == []


def test_the_readme_has_a_place_for_each_file():
    """Else a reader who looks for an idea would not find its file."""
    text = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+(?:\.py|/))`", text.partition("| room | file |")[2]))
    files = [path.relative_to(PACKAGE) for path in FILES if path.stem != "__init__"]
    places = {path: {path.name, *(f"{folder.name}/" for folder in path.parents)} for path in files}
    assert [str(path) for path, known in places.items() if not known & named] == []


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
