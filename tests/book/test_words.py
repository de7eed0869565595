"""The words of the book: spelled right, enough of them and not too many, links in one list."""

import re
import subprocess
import sys

import pytest
import yaml
from census import census, minutes
from nbformat import v4
from notebooks import BOOK, ROOT, chapters, read
from rules import links, markdown

CHAPTERS = chapters()
PAGES = [*CHAPTERS, *sorted(BOOK.glob("*.md")), ROOT / "README.md"]
LICENCE = "https://creativecommons.org/licenses/by/4.0/"
chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def text_of(page):
    return markdown(read(page)) if page.suffix == ".ipynb" else page.read_text(encoding="utf-8")


def front_page():
    return (BOOK / "intro.md").read_text(encoding="utf-8")


def misspelled(folder, **texts):
    """What codespell complains about, a line each, by the name of the text."""
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "codespell_lib", "--builtin", "clear,rare", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if "==>" in line]
    return {name: [line for line in found if f"{name}.txt:" in line] for name in texts}


def test_words_are_spelled_right(tmp_path):
    texts = {page.stem: text_of(page) for page in PAGES}
    assert len(texts) == len(PAGES)
    wrong = misspelled(tmp_path, **texts)
    assert {name: lines for name, lines in wrong.items() if lines} == {}


def test_a_misspelled_word_is_found(tmp_path):
    found = misspelled(tmp_path, a="A varience,\nseperately.", b="A variance.")
    assert {name: len(lines) for name, lines in found.items()} == {"a": 2, "b": 0}


@chapter
def test_a_chapter_has_its_measure(path):
    counts = census(read(path))
    assert 1500 <= counts.words <= 3500
    assert counts.figures >= 5
    assert counts.predictions >= 1
    assert counts.exercises >= 4
    assert counts.claims >= 15


def test_the_census_counts_what_is_there():
    text = "[Two](01_counts.ipynb#what-is-a-zero) words $x^2$."
    text += "\n\n**Predict first:** which?\n\n**Figure 1.1.** A picture."
    code = "assert True\nnp.testing.assert_allclose(a, b)"
    broken = v4.new_code_cell("a b", metadata={"tags": ["raises-exception"]})
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell(text), v4.new_code_cell(code), broken])
    assert census(notebook) == (7, 1, 1, 0, 2)  # a lone A is no word here


def test_the_front_page_says_the_minutes_that_the_heads_say():
    longer = [str(int(path.stem[:2])) for path in chapters() if minutes(read(path)) > 1]
    assert max(minutes(read(path)) for path in chapters()) <= 2
    all_run = "Each chapter runs in a minute on two CPU cores"
    if not longer:
        assert f"{all_run}." in front_page()
    elif len(longer) == 1:
        assert f"{all_run}, but for chapter {longer[0]}, which takes two." in front_page()
    else:
        named = f"{', '.join(longer[:-1])} and {longer[-1]}"
        assert f"{all_run}, but for chapters {named}, which take two." in front_page()


@chapter
def test_the_front_page_lists_the_chapter_with_its_title(path):
    number = int(path.stem[:2])
    title = read(path).cells[0].source.partition("\n")[0].removeprefix("# ")
    assert title.startswith(f"{number}. ")
    assert front_page().count(f"\n- [{title}]({path.name}). ") == 1


@chapter
def test_other_sites_are_linked_from_the_references_alone(path):
    """Else a dead link would have to be looked for in twelve notebooks."""
    known = {*links((BOOK / "references.md").read_text(encoding="utf-8")), LICENCE}
    assert {link for link in links(text_of(path)) if link.startswith("http")} <= known


def test_the_sidebar_has_the_front_pages_parts():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    *parts, _ = [(part["caption"], part["chapters"]) for part in toc["parts"]]
    lists = front_page().split("## What you will learn\n\n**")[1].split("\n\n**")
    for (caption, files), text in zip(parts, lists[: len(parts)], strict=True):
        assert text.startswith(f"{caption}**\n")
        assert [f"book/{name}" for name in re.findall(r"\((\S+)\.ipynb\)", text)] == [
            file["file"] for file in files
        ]
