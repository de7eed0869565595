"""The switchboard of chapter 5: the draft's own text, each error alone, and what becomes of it."""

import math
import re
from pathlib import Path

import pytest
import torch

from nbvae import NBVAE
from nbvae.teaching.living.draft import run_draft, switchboard
from nbvae.teaching.living.drafted import SLIPS, Slip, with_slips

DRAFT = Path(__file__).parents[1] / "book" / "assets" / "draft.md"
STOPS = {  # what Python says, by the name of the error
    "two names for one thing": "KeyError: 'px_rate'",
    "a missing comma": "SyntaxError: .*comma",
    "an output that is lost": "TypeError: .*NoneType",
    "a variance that may be negative": "ValueError: .*scale",
    "an else that belongs to one if": "TypeError: cannot assign 'str'",
    "log θ returned as θ": "ValueError: .*total_count",
    "a base class from elsewhere": "NameError: .*BaseModuleClass",
    "a loss that is not returned": "AttributeError: 'NoneType' .*backward",
    "names that nobody imported": "NameError: name 'Normal'",
    "a string for None": "TypeError: 'str' object is not callable",
}
HARMLESS = ("a function for a type", "a truth value for a question")
by_name = pytest.mark.parametrize("slip", SLIPS, ids=[f"{n}" for n in range(len(SLIPS))])


@pytest.fixture
def x(small):
    return torch.from_numpy(small.X.toarray())


def written(text):
    """The lines that hold something."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_all_errors_together_are_the_draft_as_it_was_handed_in():
    text = DRAFT.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```\{python\}\n(.*?)```", text, flags=re.DOTALL))
    assert written(with_slips(*(slip for slip in SLIPS if slip.drafted))) == written(blocks)


def test_without_errors_it_is_the_negative_elbo_of_nbvae(small, x):
    """With the same weights and the same draw of z."""
    names = {}
    exec(with_slips(), names)
    torch.manual_seed(0)
    module, other = names["MyModule"](x.shape[1]).double(), NBVAE(x.shape[1]).double()
    inferred = module.inference(x.double())
    loss = module.loss({"x": x.double()}, inferred, module.generative(
        **module._get_generative_input(x.double(), inferred)))  # fmt: skip
    other.load_state_dict({
        name.replace("model", "layers").replace("var_encoder", "logvar_encoder"): weights
        for name, weights in module.state_dict().items()
    })  # fmt: skip
    noise = (inferred["z"] - inferred["qz_m"]) / (0.5 * inferred["qz_v"]).exp()
    assert loss.item() == pytest.approx(other(x.double(), noise=noise).loss.item(), rel=1e-10)


@by_name
def test_python_says_what_it_says(slip, x):
    outcome = run_draft(with_slips(slip), x)
    if slip.name in STOPS:
        assert re.match(STOPS[slip.name], outcome.said)
        assert math.isnan(outcome.loss)
    else:
        assert outcome.said == ""
        assert math.isfinite(outcome.loss)


@by_name
def test_an_error_that_goes_through_changes_loss_or_gradient_or_is_harmless(slip, x):
    outcome, mended = run_draft(with_slips(slip), x), run_draft(with_slips(), x)
    if slip.name not in STOPS:
        assert (outcome == mended) == (slip.name in HARMLESS)


def test_each_error_can_be_touched_and_has_its_repair(x):
    cases = switchboard(x, {"correct": dict.fromkeys(("reported", "true", "kl", "sd", "ari"), 1)})
    for case in cases.values["cases"]:
        assert case["wrong"] and case["meant"] and case["effect"], case["name"]
        assert len(case["code"]) <= 24
        assert max(case["wrong"]) < len(case["code"])


def test_an_error_that_does_not_fit_the_text_is_refused():
    with pytest.raises(ValueError, match="does not hold 'nonsense'"):
        with_slips(Slip("x", (("nonsense", "y"),), ""))
