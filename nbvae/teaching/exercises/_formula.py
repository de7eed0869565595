"""Answers that are a formula: what the notebook's check asks, and what a page of the book can ask.

A page has no Python. It evaluates the reader's formula for the cases below, and compares it, as
`compare` does, with the right values and with what each known mistake gives.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from nbvae.teaching.exercises._check import CHECKS, Diagnosis, exercise, undisturbed
from nbvae.teaching.exercises._reading import SMALLEST, Slips, compare, given

ROUNDED = 5e-3  # how far a number may be off that was worked out on paper


class Formula(NamedTuple):
    """What is asked of a formula; most are arguments of `compare`."""

    right: Callable
    cases: Sequence[tuple]
    slips: Slips
    names: Sequence[str]
    within: float = 1e-6
    smallest: float = SMALLEST
    typed: Sequence[str] = ()  # what else the variables are called: the function's arguments
    what: str = ""  # that is asked for, where a task asks for several
    values: Callable[..., tuple] = lambda *case: case  # of the variables, from a case
    everywhere: bool = False
    sample: tuple | None = None  # the case of which a number is asked; (): of none

    def diagnose(self, answer: Callable) -> Diagnosis:
        """Compare a function with the truth."""
        return self._compare(answer, self.cases, self.within)

    def diagnose_number(self, answer: float) -> Diagnosis:
        """Compare the answer for the sample case, as exactly as paper allows."""
        return self._compare(lambda *_: answer, [self.one_case()], ROUNDED)

    def _compare(self, answer: Callable, cases: Sequence[tuple], within: float) -> Diagnosis:
        return compare(
            answer,
            self.right,
            cases,
            self.slips,
            names=self.names,
            within=within,
            smallest=self.smallest,
            shown=self.values,
            everywhere=self.everywhere,
        )

    def one_case(self) -> tuple:
        """Return the case of which a number is asked; by default the first, rounded."""
        if self.sample is not None:
            return self.sample
        return tuple(type(value)(float(f"{value:.2g}")) for value in self.cases[0])


Build = Callable[[], Formula | Sequence[Formula]]
AnyBuild = TypeVar("AnyBuild", bound=Build)
FORMULAS: dict[str, Build] = {}


def formula(number: str, praise: str) -> Callable[[Callable[[], Formula]], Callable[[], Formula]]:
    """Register an exercise whose answer is a formula; the decorated function says what is asked.

    Args:
        number: as in the task's heading, "2.1".
        praise: what a right answer has shown, a sentence.

    """

    def register(build: Callable[[], Formula]) -> Callable[[], Formula]:
        exercise(number, praise)(lambda answer: build().diagnose(answer))
        return in_page(number)(build)

    return register


def in_page(number: str) -> Callable[[AnyBuild], AnyBuild]:
    """Register what a page asks, of an exercise whose check asks for more than a formula."""

    def register(build: AnyBuild) -> AnyBuild:
        FORMULAS[number] = build
        return build

    return register


def as_functions(of: Callable[..., Mapping[str, Any]], *case: Any) -> Slips:
    """Turn a function that returns the results of all slips into one function for each slip."""

    def one(complaint: str, place: int | None) -> Callable:
        def slip(*case: Any) -> float:
            result = of(*case)[complaint]
            return np.asarray(result if place is None else result[place]).item()

        return slip

    return {
        complaint: tuple(one(complaint, place) for place in range(len(result)))
        if isinstance(result, list | tuple)
        else one(complaint, None)
        for complaint, result in of(*case).items()
    }


def parts(number: str) -> Sequence[Formula]:
    """Return the formulas that an exercise asks for.

    Raises:
        KeyError: the answer to this exercise is no formula.

    """
    built = FORMULAS[number]()
    return [built] if isinstance(built, Formula) else built


def questions(number: str, seed: int = 0) -> dict[str, Any]:
    """Return what a page needs to judge answers to an exercise: JSON, with NaN and inf as text.

    Raises:
        KeyError: the answer to this exercise is no formula.

    """
    with undisturbed(seed):
        asked = [_asked(part) for part in parts(number)]
    return {"number": number, "praise": CHECKS[number].praise, "parts": asked}


def _asked(part: Formula) -> dict[str, Any]:
    variables = [
        [name, *dict.fromkeys(other for other in others if other != name)]
        for name, *others in zip(part.names, part.typed or part.names, strict=True)
    ]
    return {
        "what": part.what,
        "variables": variables,
        "within": part.within,
        "rounded": ROUNDED,
        "smallest": part.smallest,
        "everywhere": part.everywhere,
        "complaints": list(part.slips),
        "cases": [_case(part, case) for case in part.cases],
        "sample": None if part.sample == () else _case(part, part.one_case()),
    }


def _case(part: Formula, case: tuple) -> dict[str, Any]:
    slips = [s if isinstance(s, tuple) else (s,) for s in part.slips.values()]
    return {
        "given": given(part.names, part.values(*case)),
        "values": [_plain(value) for value in part.values(*case)],
        "right": _plain(part.right(*case)),
        "slips": [[_plain(slip(*case)) for slip in several] for several in slips],
    }


def _plain(value: Any) -> float | str:
    """Return a number that JSON can hold; a script reads the text as the same number."""
    number = float(value)
    if number != number:
        return "NaN"
    return number if abs(number) < float("inf") else f"{'-' if number < 0 else ''}Infinity"
