"""The table of symbols speaks of the names that stand in the package and the chapters."""

import ast
import re
import unicodedata

import pytest
from notebooks import BOOK, ROOT, chapters, code_cells, read, tags

COLUMNS = ["symbol", "name in code", "meaning, shape", "first used"]
LETTERS = ["letter", "what it stands for"]
NOTATION = BOOK / "notation.md"
MATHS = re.compile(r"\$\$(.*?)\$\$|\$([^$\n]+)\$", re.DOTALL)
WORDS = re.compile(
    r"\\(?:text|operatorname\*?|mathrm|mathbb|mathcal|tag|begin|end)\s*(?:\{[^{}]*\}|\w)"
)
ALONE = re.compile(r"(?<![A-Za-z])[A-Za-zα-ωΓℓ](?![A-Za-z])")
COMMANDS = {
    **{"ell": "ℓ", "varepsilon": "ε", "Gamma": "Γ"},
    **{
        unicodedata.name(letter).removeprefix("GREEK SMALL LETTER ").lower(): letter
        for letter in "αβγδεζηθικλμνξπρστυφχψω"
    },
    "lambda": "λ",  # Unicode spells it lamda
}


def rows(text, columns=COLUMNS):
    """Return the cells of the tables that have these columns."""
    found, inside = [], False
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells == columns:
            inside = True
        elif not cells:
            inside = False
        elif inside and not set("".join(cells)) <= set("-: "):
            found.append(cells)
    return found


def names(cell):
    """Return the names in backticks; of `a.b` the last."""
    return [name.rsplit(".", 1)[-1] for name in re.findall(r"`([^`]+)`", cell)]


def names_in_code(source):
    """Return the parameters, fields, attributes, variables and functions in a Python source."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        for field in ("arg", "attr", "name", "id"):
            found.add(getattr(node, field, None))
    return found - {None}


def sources():
    """Yield the code of the package and the chapters, except the cells that show an error."""
    for path in (ROOT / "nbvae").rglob("*.py"):
        yield path.read_text(encoding="utf-8")
    for path in chapters():
        for cell in code_cells(read(path)):
            if "raises-exception" not in tags(cell):
                yield cell.source


def contradictions(table):
    """Yield the names that stand for more than one symbol."""
    symbols = {}
    for symbol, cell, *_ in table:
        for name in names(cell):
            if symbols.setdefault(name, symbol) != symbol:
                yield name


def symbols(text):
    """Return the letters in the formulas of a Markdown text, one by one."""
    text = re.sub(r"`[^`]*`", "", text)
    found = set()
    for formula in ("".join(match) for match in MATHS.findall(text)):
        plain = re.sub(r"\\([A-Za-z]+)", lambda m: COMMANDS.get(m[1], " "), WORDS.sub(" ", formula))
        found |= set(re.findall(r"[A-Za-zα-ωΓℓ]", plain))
    return found


def unknown(notebook, known):
    """Yield the symbols of a chapter that are not known; an exercise explains its own."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and not cell.source.startswith("### Exercise"):
            yield from sorted(symbols(cell.source) - known)


@pytest.fixture(scope="module")
def table():
    return rows(NOTATION.read_text(encoding="utf-8"))


def test_the_table_is_there(table):
    assert len(table) >= 8
    assert all(len(row) == len(COLUMNS) for row in table)


def test_every_name_stands_in_the_code(table):
    known = set().union(*map(names_in_code, sources()))
    assert [name for _, cell, *_ in table for name in names(cell) if name not in known] == []


def test_no_name_stands_for_two_symbols(table):
    assert list(contradictions(table)) == []


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_every_symbol_has_an_entry(path):
    text = NOTATION.read_text(encoding="utf-8")
    entries = [row[0] for columns in (COLUMNS, LETTERS) for row in rows(text, columns)]
    known = {letter for entry in entries for letter in ALONE.findall(entry)}
    assert list(unknown(read(path), known)) == []


def test_symbols_are_read_from_formulas_alone():
    text = r"$x_{ng} \sim \operatorname{NB}(\mu, \theta)$ or `$b$`: $$2\text{ of }\ell \tag{1.2}$$"
    assert symbols(text) == {"x", "n", "g", "μ", "θ", "ℓ"}
    assert ALONE.findall("log ρ, p_g, x^rep, KL(q ‖ p)") == ["ρ", "p", "g", "x", "q", "p"]


def test_the_table_is_read_as_written():
    text = "| symbol | name in code | meaning, shape | first used |\n|---|---|---|---|\n"
    text += "| N, G | `n_cells`, `a.n_genes` | q(z \\| x) | 1 |\n\n| x | y | z | `w` |\n"
    [row] = rows(text)
    assert names(row[1]) == ["n_cells", "n_genes"]
    assert list(contradictions([row, ["K", "`n_cells`"]])) == ["n_cells"]
    source = "def f(a, *, b=1):\n    self.c = d(k=2)\n\nclass E:\n    e: int"
    assert {*"abcdefkE"} <= names_in_code(source)
    assert "n" not in names_in_code("print('n')  # n")
