"""A link to another chapter goes to the section that is meant: a page is some 30,000 px long."""

import re
from collections import Counter

import pytest
from notebooks import BOOK, chapters, read

WHOLE = re.compile(r"\[([^\]]*)\]\((\d\d_\w+\.ipynb)\)")
COURSE = re.compile(
    r"^\s*(?:\*\*Builds on\*\*|Next:|This is the last)"
)  # paragraphs that lead through it
ALLOWED = {  # the chapter as a whole is meant
    "intro": [("a draft", "05")],
    "04_inference": [("chapter 5", "05")],
}
PAGES = {  # tables and lists of the chapters themselves
    "intro": r"^- \[\d+\. ",  # the map of the chapters
    "for_lecturers": r"^\|",  # courses by the hour
    "notation": r"^\|",  # where a symbol is first used
}


def whole_links(text):
    """The links to the top of a chapter, outside the paragraphs that lead through the course."""
    return [
        (words, target[:2])
        for paragraph in text.split("\n\n")
        if not COURSE.match(paragraph)
        for words, target in WHOLE.findall(paragraph)
    ]


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_chapters_link_to_sections(path):
    cells = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    found = Counter(link for cell in cells for link in whole_links(cell))
    assert found - Counter(ALLOWED.get(path.stem, [])) == Counter()


@pytest.mark.parametrize("path", sorted(BOOK.glob("*.md")), ids=lambda path: path.stem)
def test_pages_link_to_sections_outside_their_tables(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    table = PAGES.get(path.stem, r"(?!)")
    found = [link for line in lines if not re.match(table, line) for link in whole_links(line)]
    assert Counter(found) - Counter(ALLOWED.get(path.stem, [])) == Counter()


def test_a_link_to_the_top_is_found():
    text = "See [chapter 2](02_b.ipynb) and [3](03_c.ipynb#a).\n\nNext: [more](04_d.ipynb)."
    assert whole_links(text) == [("chapter 2", "02")]
