"""The package's reference: it has a place for every public name."""

import re

from notebooks import ROOT

import nbvae
from nbvae import NBVAE, Trainer

TEXT = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
WHOLE = {"datasets": "nbvae.data.datasets", "evaluation": "nbvae.evaluation",
         "expression": "nbvae.expression"}  # fmt: skip
ARGUMENTS = {"out", "neg_elbo", "reconstruction"}  # and fields of what is returned


def test_every_public_name_has_a_place_in_the_reference():
    named = re.findall(r"^\.\. auto(?:class|function|exception):: (\w+)$", TEXT, re.MULTILINE)
    assert sorted([*named, *WHOLE, "__version__"]) == sorted(nbvae.__all__)


def test_modules_are_described_whole():
    named = re.findall(r"^\.\. automodule:: (\S+)\n   :members:$", TEXT, re.MULTILINE)
    assert sorted(named) == sorted(WHOLE.values())


def test_what_takes_the_place_of_scvi_tools_is_there():
    """The table's right column; tests/parity compares the left one with scvi-tools."""
    rows = TEXT.partition("| there | here |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(rows) > 20
    for row in rows:
        there, here = row.split("|")[1:3]
        places = re.findall(r"`(?:NBVAE\.|Trainer\.|[a-z]+\.)?(\w+)", here)
        assert places or "not here, because" in here, there
        for name in places:
            homes = (nbvae, nbvae.NBVAE, nbvae.Trainer, nbvae.Covariates, nbvae.expression,
                     nbvae.evaluation)  # fmt: skip
            attributes = NBVAE(1), Trainer(), *homes
            assert any(hasattr(home, name) for home in attributes) or name in ARGUMENTS, name


def test_each_word_of_the_glossary_has_one_paragraph():
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE)
    assert len(words) == len(set(words)) == len(re.findall(r"\n\n\*\*.+?\.\*\*", text)) > 100
