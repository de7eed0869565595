"""The rules of a chapter. Each takes a notebook and yields what is wrong with it, in words."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from urllib.parse import unquote

import student
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from myst_parser.mdit_to_docutils.base import default_slugify
from nbformat import NotebookNode
from notebooks import code_cells, tags

FRAME = ("**The question.**", "**You will be able to**", "**Builds on**", "**Minutes on a CPU**")
SECTIONS = ("## Exercises", "## What can go wrong", "## Recap")
MIN_EXERCISES = 4
MIN_RECAP_LINKS = 3
MIN_ALT = 30  # characters
MIN_CAPTION = 40
HEADING_DEPTH = 3  # as myst_heading_anchors in _config.yml

MACHINE_PATH = re.compile(
    r"(?<![\w.:/])/(?:root|home|tmp|usr|opt|mnt|var|Users)/\S*|\S*site-packages\S*"
)
MOMENT = re.compile(r"\d\s?(?:it/s|s/it|ms|µs)\b|\b0x[0-9a-f]{6,}")
PACKED = re.compile(r"data-(?:values|trained)='[^']*'")  # letters that mean nothing
TITLE = re.compile(r"# (\d+)\. \S")
CAPTION = re.compile(r"\*\*Figure (\d+\.\d+)\.\*\* (.*)", re.DOTALL)
TAG = re.compile(r"\\tag\{(\d+)\.(\d+)\}")

Rule = Callable[[NotebookNode], Iterator[str]]


def was_run(notebook: NotebookNode) -> Iterator[str]:
    """nbval compares nothing in a cell without a count, so that one would always pass."""
    counts = [cell.execution_count for cell in code_cells(notebook) if cell.source.strip()]
    if counts != list(range(1, len(counts) + 1)):
        yield f"the execution counts are {counts}, not 1, 2, 3, …"


def stores_no_trouble(notebook: NotebookNode) -> Iterator[str]:
    """Warnings are never stored, errors only where the book shows one on purpose."""
    for cell in code_cells(notebook):
        errors = [o.ename for o in cell.outputs if o.output_type == "error"]
        if any(o.get("name") == "stderr" for o in cell.outputs):
            yield f"cell {cell.id} stores stderr"
        if bool(errors) != ("raises-exception" in tags(cell)):
            yield f"cell {cell.id} stores the errors {errors}, its tags are {tags(cell)}"


def is_portable(notebook: NotebookNode) -> Iterator[str]:
    """Nothing of the machine or the moment: no paths, no addresses in memory, no timings."""
    for cell in notebook.cells:
        for text in [cell.source, *_texts(cell)]:
            if found := MACHINE_PATH.search(text):
                yield f"cell {cell.id} has a path of one machine: {found[0]}"
        for text in _texts(cell):
            if found := MOMENT.search(text):
                yield f"cell {cell.id} shows what differs from run to run: {found[0]}"


def has_frame(notebook: NotebookNode) -> Iterator[str]:
    """The chapter opens with its question and closes with its recap."""
    if not TITLE.match(notebook.cells[0].source):
        yield "the first line is not `# N. title`"
    lines = notebook.cells[0].source.split("\n")
    for words in FRAME:
        if not any(line.startswith(words) for line in lines):
            yield f"the first cell has no paragraph that begins {words}"
    headings = [line for line in markdown(notebook).split("\n") if line in SECTIONS]
    if headings != list(SECTIONS):
        yield f"the last sections should be {SECTIONS}, not {headings}"


def recap_points_back(notebook: NotebookNode) -> Iterator[str]:
    """The recap links to sections of its own page, which exist."""
    _, _, recap = markdown(notebook).partition("\n## Recap\n")
    links = re.findall(r"\]\(#([^)]*)\)", recap)
    if len(links) < MIN_RECAP_LINKS:
        yield f"the recap has {len(links)} links to sections, {MIN_RECAP_LINKS} are needed"
    known = anchors(markdown(notebook))
    yield from (
        f"the recap links to #{link}, which is no section" for link in links if link not in known
    )


def figures_are_told(notebook: NotebookNode) -> Iterator[str]:
    """Each figure has alternative text, and then a caption with its number."""
    n, number = chapter_number(notebook), 0
    for cell, after in pairwise([*notebook.cells, NotebookNode(cell_type="", source="")]):
        if not _images(cell):
            continue
        number += 1
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if len(alt) < MIN_ALT:
            yield f"cell {cell.id} has no alternative text of {MIN_ALT} characters: {alt!r}"
        caption = CAPTION.match(after.source) if after.cell_type == "markdown" else None
        if caption is None or caption[1] != f"{n}.{number}":
            yield f"cell {cell.id} is not followed by **Figure {n}.{number}.** and a caption"
        elif len(caption[2]) < MIN_CAPTION:
            yield f"the caption of Figure {caption[1]} is short: {caption[2]!r}"


def exercises_are_whole(notebook: NotebookNode) -> Iterator[str]:
    """Task with a hint, answer, and a check that passes; numbered in order."""
    try:
        found = student.exercises(notebook)
        student.student_edition(notebook, "chapter")
    except student.MarkerError as error:
        yield str(error)
        return
    n = chapter_number(notebook)
    if [e.number for e in found] != [f"{n}.{k}" for k in range(1, len(found) + 1)]:
        yield f"the exercises are numbered {[e.number for e in found]}"
    if len(found) < MIN_EXERCISES:
        yield f"{len(found)} exercises, {MIN_EXERCISES} are needed"
    for exercise in found:
        yield from _flaws(exercise)


def equations_count_up(notebook: NotebookNode) -> Iterator[str]:
    r"""The numbers in `\tag{…}` are the chapter's, 1, 2, 3, …"""
    n = chapter_number(notebook)
    found = [f"{a}.{b}" for a, b in TAG.findall(markdown(notebook))]
    if found != [f"{n}.{k}" for k in range(1, len(found) + 1)]:
        yield f"the equations are numbered {found}"


def boxes_are_styled(notebook: NotebookNode) -> Iterator[str]:
    """A box is `<div class="admonition note">`, and the theme knows its title by one class."""
    for cell in notebook.cells:
        boxes = re.findall(r'<div class="admonition[^>]*>\s*(<p[^>]*>)?', cell.source)
        if any(title != '<p class="admonition-title">' for title in boxes):
            yield f'cell {cell.id}: a box must begin with <p class="admonition-title">'


def folds_have_titles(notebook: NotebookNode) -> Iterator[str]:
    """A reader sees what is folded away, not "Show code cell source"; an answer is a solution."""
    for cell in code_cells(notebook):
        title = cell.metadata.get("mystnb", {}).get("code_prompt_show", "")
        if student.BEGIN in cell.source and title != "Show solution":
            yield f"cell {cell.id} is an answer, and its button says {title!r}"
        if {"hide-cell", "hide-input"} & set(tags(cell)) and not title:
            yield f"cell {cell.id} is folded and has no title"


RULES: tuple[Rule, ...] = (
    was_run,
    stores_no_trouble,
    is_portable,
    has_frame,
    recap_points_back,
    figures_are_told,
    exercises_are_whole,
    equations_count_up,
    boxes_are_styled,
    folds_have_titles,
)


def chapter_number(notebook: NotebookNode) -> str:
    """Return the number in a chapter's title, "?" if there is none."""
    match = TITLE.match(notebook.cells[0].source)
    return match[1] if match else "?"


def markdown(notebook: NotebookNode) -> str:
    """Return a notebook's text without its code."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@cache
def anchors(text: str) -> set[str]:
    """Return what a link to a section of this page can name."""
    tokens = _parser().parse(text)
    found: set[str] = set()
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and int(opening.tag[1]) <= HEADING_DEPTH:
            words = [t.content for t in inline.children if t.type in ("text", "code_inline")]
            found.add(default_slugify("".join(words)))
    return found


def links(text: str) -> list[str]:
    """Return the targets of a page's links and images, as they are written."""
    inlines = [token for token in _parser().parse(text) if token.type == "inline"]
    children = [child for inline in inlines for child in inline.children]
    return [
        unquote(str(c.attrs.get("href") or c.attrs.get("src")))
        for c in children
        if c.type in ("link_open", "image")
    ]


def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)


def _flaws(exercise: student.Exercise) -> Iterator[str]:
    """Yield what an exercise lacks, besides its cells."""
    if "<details><summary>Hint</summary>" not in exercise.task.source:
        yield f"Exercise {exercise.number} has no hint"
    printed = "".join(o.get("text", "") for o in exercise.check.outputs)
    if not printed.startswith(f"✓ Exercise {exercise.number}"):
        yield f"the stored check of Exercise {exercise.number} says {printed!r}"
    before, _, rest = exercise.answer.source.partition(student.BEGIN)
    if before.strip() == "" and "=" not in rest:
        yield f"Exercise {exercise.number} leaves no name for the check to look at"


def _images(cell: NotebookNode) -> list[str]:
    return [
        o.data["image/png"] for o in cell.get("outputs", []) if "image/png" in o.get("data", {})
    ]


def _texts(cell: NotebookNode) -> Iterator[str]:
    """Yield all text that a cell stores besides its source."""
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        yield "\n".join(output.get("traceback", []))
        data = output.get("data", {})
        yield from (PACKED.sub("", v) for kind, v in data.items() if kind.startswith("text/"))
