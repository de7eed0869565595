"""Every chapter keeps every rule, and every rule can be broken."""

import functools
import re

import outputs
import pytest
import sample
from nbformat import v4
from notebooks import BOOK, chapters, code_cells, dumps, read, repository
from rules import RULES, anchors, chapter_number, links, markdown

CHAPTERS = chapters()
PAGES = [*CHAPTERS, *sorted(BOOK.glob("*.md"))]
name = pytest.mark.parametrize  # shorter lines below


def by_name(value):
    return getattr(value, "__name__", None) or value.stem


def text_of(page):
    return markdown(read(page)) if page.suffix == ".ipynb" else page.read_text(encoding="utf-8")


@name("rule", RULES, ids=by_name)
@name("path", CHAPTERS, ids=by_name)
def test_chapter_keeps_the_rule(path, rule):
    assert list(rule(read(path))) == []


@name("path", CHAPTERS, ids=by_name)
def test_chapter_is_stored_as_make_outputs_stores_it(path):
    assert path.read_text(encoding="utf-8") == dumps(outputs.normalise(read(path)))


@name("path", CHAPTERS, ids=by_name)
def test_chapter_has_the_number_of_its_file(path):
    assert int(chapter_number(read(path))) == int(path.stem[:2])


@name("path", CHAPTERS, ids=by_name)
def test_chapter_begins_with_the_setup_cell(path):
    first = code_cells(read(path))[0]
    assert first.source == outputs.setup_source(repository())
    assert first.metadata.tags == [outputs.SETUP_TAG]


@name("path", CHAPTERS, ids=by_name)
def test_asset_is_the_figure_that_the_chapter_shows(path):
    for file, image in outputs.assets(read(path)).items():
        assert (BOOK / "assets" / file).read_bytes() == image


@name("path", PAGES, ids=by_name)
def test_links_lead_somewhere(path):
    assert list(broken_links(path)) == []


def test_a_link_to_a_section_with_a_greek_letter(tmp_path):
    page = tmp_path / "a.md"
    page.write_text("# How well is θ known?\n\n[1](#how-well-is-θ-known)", encoding="utf-8")
    assert list(broken_links(page)) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    page, other = tmp_path / "a.md", tmp_path / "b.md"
    other.write_text("# B\n\n## Well `known`\n", encoding="utf-8")
    page.write_text(
        "[1](b.md) [2](b.md#well-known) [3](#none) [4](c.md) ![5](d.png) [6](https://a.b)",
        encoding="utf-8",
    )
    assert list(broken_links(page)) == ["#none", "c.md", "d.png"]


@name("rule", RULES, ids=by_name)
def test_the_sample_keeps_the_rule(rule):
    assert list(rule(sample.chapter())) == []


def replace(old, new):
    """A change of the sample's sources."""

    def change(notebook):
        assert any(old in cell.source for cell in notebook.cells)
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)

    return change


def drop(words):
    """Remove the cells that contain these words."""

    def change(notebook):
        kept = [cell for cell in notebook.cells if words not in cell.source]
        assert len(kept) < len(notebook.cells)
        notebook.cells = kept

    return change


def show(output_type, **content):
    """Store one more output in the last code cell."""

    def change(notebook):
        code_cells(notebook)[-1].outputs.append(v4.new_output(output_type, **content))

    return change


def uncount(notebook):
    code_cells(notebook)[3].execution_count = None


def drop_alt(notebook):
    for cell in notebook.cells:
        cell.metadata.pop("mystnb", None)


def untitle(which):
    """Take the title off the first cell that is folded in this way."""

    def change(notebook):
        cell = next(cell for cell in notebook.cells if which in cell.metadata.get("tags", ()))
        del cell.metadata["mystnb"]

    return change


def fail_check(notebook):
    code_cells(notebook)[-1].outputs[0].text = "✗ Exercise 1.4: not solved yet.\n"


def untag(notebook):
    code_cells(notebook)[-2].metadata.tags = []


BROKEN = [
    ("was_run", uncount),
    ("stores_no_trouble", show("stream", name="stderr", text="a warning")),
    ("stores_no_trouble", show("error", ename="E", evalue="", traceback=[])),
    ("is_portable", replace("Add it", "See /home/someone/file: add it")),
    ("is_portable", show("stream", text="<function f at 0x7f21ab0c9e40>")),
    ("is_portable", show("stream", text="10 steps, 12.5 it/s")),
    ("is_portable", show("error", ename="E", evalue="", traceback=["x/site-packages/y.py"])),
    ("has_frame", replace("**The question.**", "The question:")),
    ("has_frame", replace("# 1. A sample", "# A sample")),
    ("has_frame", drop("## What can go wrong\n")),
    ("recap_points_back", replace("(#an-idea)", "(#no-idea)")),
    ("recap_points_back", replace("[Exercises](#exercises)", "Exercises")),
    ("figures_are_told", drop_alt),
    ("figures_are_told", drop("**Figure 1.1.**")),
    ("figures_are_told", replace("Figure 1.1.", "Figure 1.2.")),
    ("figures_are_told", replace(" It shows where a figure stands and how it is told.", "")),
    ("exercises_are_whole", untag),
    ("exercises_are_whole", fail_check),
    ("exercises_are_whole", drop("### Exercise 1.2")),
    ("exercises_are_whole", replace("<summary>Hint</summary>", "<summary>More</summary>")),
    ("exercises_are_whole", replace("    ### END SOLUTION", "")),
    ("equations_count_up", replace(r"\tag{1.2}", r"\tag{1.1}")),
    ("equations_count_up", replace(r"\tag{1.2}", r"\tag{1.3}")),
    ("boxes_are_styled", replace("## An idea", '<div class="admonition"><p class="title">A</p>')),
    ("folds_have_titles", untitle("hide-cell")),
    ("folds_have_titles", untitle("hide-input")),
]


@name(("rule", "change"), BROKEN)
def test_a_broken_rule_is_noticed(rule, change):
    notebook = sample.chapter()
    change(notebook)
    noticed = {r.__name__ for r in RULES if list(r(notebook))}
    assert rule in noticed


def test_every_rule_is_broken_once():
    assert {rule for rule, _ in BROKEN} == {rule.__name__ for rule in RULES}


@functools.cache
def sections(page):
    return anchors(text_of(page))


def broken_links(page):
    """Yield the links of a page to files and sections that don't exist."""
    for link in links(text_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, section = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (section and section not in sections(target)):
            yield link
