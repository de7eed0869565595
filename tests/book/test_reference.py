"""The package's reference: it has a place for every public name."""

import re

from notebooks import ROOT

import nbvae

TEXT = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
WHOLE = {"datasets": "nbvae.data.datasets", "evaluation": "nbvae.evaluation",
         "expression": "nbvae.expression"}  # fmt: skip


def test_every_public_name_has_a_place_in_the_reference():
    named = re.findall(r"^\.\. auto(?:class|function|exception):: (\w+)$", TEXT, re.MULTILINE)
    assert sorted([*named, *WHOLE, "__version__"]) == sorted(nbvae.__all__)


def test_modules_are_described_whole():
    named = re.findall(r"^\.\. automodule:: (\S+)\n   :members:$", TEXT, re.MULTILINE)
    assert sorted(named) == sorted(WHOLE.values())


def test_each_word_of_the_glossary_has_one_paragraph():
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE)
    assert len(words) == len(set(words)) == len(re.findall(r"\n\n\*\*.+?\.\*\*", text)) > 100
