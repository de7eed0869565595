"""What chapter 12 says of scvi-tools is true: its listing, its tables of names, the defaults."""

import ast
import inspect
import json
import re
from pathlib import Path

import pytest
import scvi
import torch
from scvi.model import SCVI
from scvi.model._utils import get_max_epochs_heuristic
from scvi.module import VAE
from scvi.nn import Encoder
from scvi.train import TrainingPlan

CHAPTER = Path(__file__).resolve().parents[2] / "book" / "12_your_own_data.ipynb"
SOURCE = Path(scvi.__file__).parent


@pytest.fixture(scope="module")
def cells():
    """Kind and source of each cell; nbformat is not in this environment."""
    found = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in found]


@pytest.fixture(scope="module")
def listing(cells):
    """The one listing in the chapter's text that uses scvi-tools, as it stands there."""
    fences = [
        code
        for kind, source in cells
        if kind == "markdown"
        for code in re.findall(r"^```python\n(.*?)^```$", source, re.DOTALL | re.MULTILINE)
    ]
    [code] = [code for code in fences if "from scvi" in code]
    return code


def table(cells, header):
    """The rows of the table in the chapter with this header."""
    [text] = [source for _, source in cells if header in source]
    lines = text.partition(header)[2].splitlines()[2:]
    end = next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[:end]]


@pytest.mark.filterwarnings("default")  # Lightning has advice to give
def test_both_losses_agree(listing, capsys):
    names = {}
    exec(compile(listing, "listing", "exec"), names)
    theirs, ours = names["theirs_loss"], names["ours_loss"]
    assert 500 < theirs < 1000
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    assert f"scvi-tools {theirs:.4f}" in capsys.readouterr().out


def test_every_name_of_theirs_is_in_their_source(cells):
    source = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    known = set(re.findall(r"[A-Za-z_]\w*", source))
    rows = table(cells, "| here | there | mind |")
    assert len(rows) > 15
    for _, theirs, _ in rows:
        names = re.findall(r"[A-Za-z_]\w*", " ".join(re.findall(r"`([^`]+)`", theirs)))
        assert set(names) <= known


def test_the_reference_has_a_place_for_every_public_name_of_theirs():
    """And for nothing that they do not have."""
    text = (CHAPTER.parent / "api.md").read_text(encoding="utf-8")
    rows = text.partition("| there | here |")[2].partition("\n\n")[0].splitlines()[2:]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert sorted(named) == [name for name in sorted(dir(SCVI)) if not name.startswith("_")]


def test_every_file_holds_what_to_look_for(cells):
    rows = table(cells, "| file in `scvi/` | look for | you know it as |")
    assert len(rows) > 5
    for file, look_for, _ in rows:
        text = (SOURCE / file.strip("`")).read_text(encoding="utf-8")
        for name in re.findall(r"`([^`]+)`", look_for):
            assert re.search(rf"(def|class) {name.rsplit('.', 1)[-1]}\b", text), (file, name)


def test_defaults(cells):
    [quoted] = [
        ast.literal_eval(node.value)
        for kind, source in cells
        if kind == "code" and "tests/parity/test_listing.py" in source
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "THEIRS"
    ]
    sources = (VAE, SCVI.train, TrainingPlan, Encoder, get_max_epochs_heuristic)
    for name, value in quoted.items():
        defaults = [
            parameters[name].default
            for parameters in (inspect.signature(source).parameters for source in sources)
            if name in parameters
        ]
        assert value in defaults, name


def test_what_the_chapter_says_of_their_sizes(blood):
    """A module by default: batch normalisation in both networks, dropout in the encoder."""
    module = VAE(blood.shape[1])
    kinds = {
        part: {type(layer).__name__ for layer in network.modules()}
        for part, network in (("encoder", module.z_encoder), ("decoder", module.decoder))
    }
    assert {"BatchNorm1d", "Dropout"} <= kinds["encoder"]
    assert "BatchNorm1d" in kinds["decoder"] and "Dropout" not in kinds["decoder"]
