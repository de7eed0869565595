"""Numbers in captions and alternative texts, and what carries each: an assertion, or an input.

A caption is read more often than anything else on a page, and nothing runs it. So each number in it
has to stand in an assertion of the cells that belong to its figure, as itself or between the two
bounds of a comparison. An input, a number in the drawing's own code or assigned without computing,
is true by construction. Small counts in words ("three panels") and numbers of figures, equations,
chapters and exercises are no claims.
"""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from nbformat import NotebookNode
from notebooks import tags

CAPTION = re.compile(r"\*\*Figure \d+\.\d+\.\*\*")
NO_CLAIM = re.compile(
    r"\$[^$]*\$|`[^`]*`|\]\([^)]*\)|\bFigures? \d+\.\d+|\(\d+\.\d+\)|et al\. \(?\d{4}"
    r"|\b[Cc]hapters? \d+(?: and \d+)?|\b[Ee]xercises? \d+\.\d+|\w*[A-Za-z_]\w*\d\w*"
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
WORDS = {word: n for n, word in enumerate(UNITS)} | {w: 10 * n for n, w in enumerate(TENS, 2)}
FIGURES = re.compile(r"(≈ )?(?<![\w.,^])(\d[\d,]*(?:\.\d+)?(?:e[-−]?\d+)?)( (?:%|per ?cent))?")
IN_WORDS = re.compile(rf"\b(?:({'|'.join(WORDS)})( per ?cent| nats| times(?! in))?)\b")
STYLE = {
    "alpha", "bbox_to_anchor", "fontsize", "figsize", "height", "labelpad", "lw", "linewidth",
    "linewidths", "markerscale", "ms", "ncols", "pad", "rotation", "s", "shrink", "textcoords",
    "width", "width_ratios", "xytext", "zorder", "height_ratios", "handlelength", "mew", "loc",
}  # fmt: skip
FREE = {0.0, 1.0, 700.0, 765.0}  # ends of an axis; cells and genes of the sample, see chapter 1
WIDE = 2.5  # how far the bounds around a number may be apart
ABOVE = 12  # from here on a count in words is a claim


def uncarried(notebook: NotebookNode) -> Iterator[str]:
    """Yield each number in a caption or alternative text that nothing carries."""
    for figure, caption, cells in figures(notebook):
        inputs = set(literals(ast.parse(figure.source), STYLE))
        inputs.update(n for cell in cells for n in settings(cell.source))
        claims = [bounds for cell in cells for bounds in asserted(cell.source)]
        printed = "\n".join(o.get("text", "") for cell in cells for o in cell.get("outputs", []))
        alt = figure.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        for where, text in (("alternative text", alt), ("caption", caption)):
            for said, number, rough in numbers(text):
                carried = number in FREE or number in inputs or is_carried(number, claims)
                if not carried and not (rough and said in printed):
                    yield f"cell {figure.id}, {where}: {said!r}"


def figures(notebook: NotebookNode) -> Iterator[tuple[NotebookNode, str, list[NotebookNode]]]:
    """Yield each figure's cell, its caption, and the code cells that belong to it.

    These are the cells since the figure before, its own, and cells that check ("Checked: …") right
    after the caption.
    """
    before: list[NotebookNode] = []
    cells = [*notebook.cells, NotebookNode(cell_type="markdown", source="", metadata={})]
    for place, (cell, after) in enumerate(pairwise(cells)):
        if cell.cell_type == "code" and "raises-exception" not in tags(cell):
            before.append(cell)
            if CAPTION.match(after.source):
                checks = [c for c in cells[place + 2 : place + 4] if "# Checked" in c.source]
                yield cell, after.source.partition("\n\n")[0], before + checks
                before = []


def numbers(text: str) -> Iterator[tuple[str, float, bool]]:
    """Yield the numbers that a text claims: as said, the value, and whether one run's (≈)."""
    text = NO_CLAIM.sub(" ", text.replace("−", "-"))
    for rough, digits, unit in FIGURES.findall(text):
        value = float(digits.rstrip(",").replace(",", ""))
        yield rough + digits.rstrip(",") + unit, value, bool(rough)
    for word, unit in IN_WORDS.findall(text):
        if WORDS[word] > ABOVE or unit:
            yield word + unit, float(WORDS[word]), False


def asserted(source: str) -> Iterator[list[float]]:
    """Yield the numbers of each comparison that a cell asserts."""
    for node in ast.walk(ast.parse(source)):
        called = isinstance(node, ast.Call) and "assert" in ast.unparse(node.func)
        if isinstance(node, ast.Assert) or called:
            yield list(literals(node))
            for part in ast.walk(node):
                if isinstance(part, ast.Compare):
                    ends = [part.left, *part.comparators]
                    yield [abs(e.value) for e in ends if isinstance(e, ast.Constant)
                           and isinstance(e.value, int | float)]  # fmt: skip


def settings(source: str) -> Iterator[float]:
    """Yield the numbers that a cell sets by hand: those of assignments without a call."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and not any(
            isinstance(part, ast.Call) for part in ast.walk(node)
        ):
            yield from literals(node)


def literals(tree: ast.AST, without: set[str] = frozenset()) -> Iterator[float]:
    """Yield the numbers that stand in code, and those in its texts, without these arguments."""
    for field in ast.iter_child_nodes(tree):
        if not (isinstance(field, ast.keyword) and field.arg in without):
            yield from literals(field, without)
    if isinstance(tree, ast.Constant):
        if isinstance(tree.value, str):
            yield from (float(n) for n in re.findall(r"\d+(?:\.\d+)?", tree.value.replace(",", "")))
        elif isinstance(tree.value, int | float) and not isinstance(tree.value, bool):
            yield abs(float(tree.value))


def is_carried(number: float, claims: list[list[float]]) -> bool:
    """Whether a comparison has this number, as it is or in per cent, or two bounds around it."""
    for scaled in (number, number / 100):
        for bounds in claims:
            if any(abs(b - scaled) <= 1e-9 * max(1, scaled) for b in bounds):
                return True
            low, high = (min(bounds), max(bounds)) if len(bounds) == 2 else (1, 0)
            if low <= scaled <= high <= WIDE * low:
                return True
    return False
