"""Pencil exercises: below the task, what the page's script asks and judges, as Python says it."""

import json
import re
from typing import Any

from bs4 import BeautifulSoup

TASK = re.compile(r"Exercise (\d+\.\d+)")


def put_forms(body: BeautifulSoup) -> bool:
    """Put an empty box with the questions below each task whose answer is a formula.

    Returns:
        Whether there is any.

    """
    headings = [h for h in body.find_all("h3") if TASK.match(h.get_text())]
    if not headings:
        return False
    from nbvae.teaching.exercises import FORMULAS, questions  # with PyTorch, which takes seconds

    found = False
    for heading in headings:
        task = TASK.match(heading.get_text())
        if not task or task[1] not in FORMULAS:
            continue
        text = json.dumps(questions(task[1]), ensure_ascii=False, separators=(",", ":"))
        box = body.new_tag("div", attrs={"class": "nbvae-pencil", "data-asked": text})
        last_of(heading).insert_after(box)
        found = True
    return found


def last_of(heading: Any) -> Any:
    """Return the last paragraph of a task, before its hint and its solution."""
    last = heading
    for after in heading.find_next_siblings():
        if after.name == "details" or "cell" in (after.get("class") or ()):
            break
        last = after
    return last
