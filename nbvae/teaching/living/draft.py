"""The living figure of chapter 5: the draft with one error at a time."""

import difflib
import re
import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from nbvae.teaching.living.drafted import SLIPS, Slip, with_slips
from nbvae.teaching.living.figure import LivingFigure

LONGEST = 150  # letters of what Python says
KEYS = ("reported", "true", "kl", "sd", "ari")


class Outcome(NamedTuple):
    """What came of a text."""

    said: str  # the error, in Python's words; "" if there was none
    loss: float  # before training, nats per cell; NaN if there was an error
    slope: float  # the sum of all weights' |gradients|; NaN if there was an error


def run_draft(text: str, x: Tensor, *, seed: int = 0) -> Outcome:
    """Run the draft's four methods and the way back on some counts.

    Args:
        text: from ``with_slips``.
        x: raw counts, (n_cells, n_genes).
        seed: of the weights and the draw.

    """
    names: dict[str, Any] = {}
    torch.manual_seed(seed)
    try:
        exec(compile(text, "draft.py", "exec"), names)  # a text of this package
        module = names["MyModule"](x.shape[1])
        inferred = module.inference(x)
        generated = module.generative(**module._get_generative_input(x, inferred))
        loss = module.loss({"x": x}, inferred, generated)
        loss.backward()
    except Exception as error:  # whatever Python says is what is asked for
        return Outcome(_words(error), float("nan"), float("nan"))
    slope = sum(weights.grad.abs().sum().item() for weights in module.parameters())
    return Outcome("", loss.item(), slope)


def switchboard(
    x: Tensor, scores: Mapping[str, Mapping[str, float]], *, still: Figure | None = None
) -> LivingFigure:
    """Let the reader find each error in the code, and then see what it does.

    Args:
        x: raw counts to run each text on, (n_cells, n_genes).
        scores: of the trained models: "correct", and by name the errors that go through and
            change what is learned; each has "reported" and "true" (−ELBO), "kl", "sd", "ari".
        still: the picture for where scripts do not run.

    """
    cases = [_case(slip, run_draft(with_slips(slip), x).said) for slip in SLIPS]
    numbers = {
        name: [round(float(score[key]), 3) for key in KEYS] for name, score in scores.items()
    }
    label = "The draft with one error at a time"
    return LivingFigure(
        "switchboard", label, {"cases": cases}, trained={"scores": numbers}, still=still
    )


def _case(slip: Slip, said: str) -> dict[str, Any]:
    """Describe an error: its block of code, which lines are wrong, and what came of it."""
    lines, meant = with_slips(slip).splitlines(), with_slips().splitlines()
    changed = [
        (a, b, c, d)
        for tag, a, b, c, d in difflib.SequenceMatcher(None, meant, lines, False).get_opcodes()
        if tag != "equal"
    ]
    wrong = {n for _, _, c, d in changed for n in range(c, d)}
    wrong |= {n for n, line in enumerate(lines) if slip.seen_at and slip.seen_at in line}
    start, end = next(block for block in _blocks(lines) if wrong & set(range(*block)))
    wrong_here = sorted(n - start for n in wrong if start <= n < end)
    return {
        "name": slip.name,
        "code": textwrap.dedent("\n".join(lines[start:end])).split("\n"),
        "wrong": wrong_here,
        "meant": [line.strip() for a, b, _, _ in changed for line in meant[a:b]],
        "said": said,
        "effect": slip.effect,
    }


def _blocks(lines: list[str]) -> list[tuple[int, int]]:
    """Find the functions: first and last line of each, a class's head with its first function."""
    starts = [n for n, line in enumerate(lines) if re.match(r"class |    def ", line)]
    starts = [n for n in starts if not (lines[n].startswith("    def __init__"))]
    ends = [*starts[1:], len(lines)]
    return [(a, b - (not lines[b - 1].strip())) for a, b in zip(starts, ends, strict=True)]


def _words(error: Exception) -> str:
    """Return an error's type and the first line of what it says."""
    text = error.msg if isinstance(error, SyntaxError) else str(error).splitlines()[0]
    text = re.sub(r"Tensor of shape \([\d, ]+\)|\w+: torch\.Size\(\[[\d, ]+\]\),? ?", "…", text)
    return f"{type(error).__name__}: {text[:LONGEST]}{'…' * (len(text) > LONGEST)}"
