"""How a check speaks: one line, ✓ or ✗, and what kind of mistake it looks like."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import torch

Diagnosis = str | None  # None: the answer is right
Diagnose = Callable[..., Diagnosis]


class NotSolvedError(Exception):
    """The answer is still the placeholder."""


class WrongFormError(Exception):
    """The answer can't be read as what the task asks for; the message is a complaint."""


class Unexplained(str):
    """A complaint that says what should have come out, where no known mistake fits."""


class Check(NamedTuple):
    """What is said of an answer."""

    praise: str  # what a right answer has shown, a sentence
    diagnose: Diagnose  # None for a right answer, else one sentence on what it looks like


CHECKS: dict[str, Check] = {}
_SEED: ContextVar[int] = ContextVar("seed", default=0)


def exercise(number: str, praise: str) -> Callable[[Diagnose], Diagnose]:
    """Register the function that diagnoses the answer to an exercise.

    Args:
        number: as in the task's heading, "5.2".
        praise: what a right answer has shown, a sentence.

    Raises:
        ValueError: another exercise has this number.

    """

    def register(diagnose: Diagnose) -> Diagnose:
        if number in CHECKS:
            raise ValueError(f"Exercise {number} has two checks.")
        CHECKS[number] = Check(praise, diagnose)
        return diagnose

    return register


def check(number: str, *answer: object, seed: int = 0) -> None:
    """Check the answer to an exercise and print one line, ✓ or ✗.

    Whatever goes wrong in the reader's code becomes part of the line, so that the notebook runs on.
    What that code prints meanwhile goes to stderr, which nbval doesn't compare.
    Random numbers drawn after the check are those that would have been drawn without it.

    Args:
        number: of the exercise, "5.2".
        answer: the reader's function, or what else the task asks for.
        seed: of the inputs with which the answer is tried.

    Raises:
        ValueError: no exercise has this number.

    """
    with redirect_stdout(sys.stderr):
        complaint = diagnosis(number, *answer, seed=seed)
    mark, text = ("✓", CHECKS[number].praise) if complaint is None else ("✗", complaint)
    print(f"{mark} Exercise {number}: {text}")


def diagnosis(number: str, *answer: object, seed: int = 0) -> Diagnosis:
    """Return what `check` says of a wrong answer, None for a right one; arguments as there.

    Raises:
        ValueError: no exercise has this number.

    """
    if number not in CHECKS:
        raise ValueError(f"There is no exercise {number!r}; the numbers are: {', '.join(CHECKS)}.")
    with undisturbed(seed):
        return _complaint(CHECKS[number].diagnose, answer)


def inputs() -> np.random.Generator:
    """Return the generator from which a check draws its inputs."""
    return np.random.default_rng(_SEED.get())


def solved(value: Any) -> Any:
    """Pass a value on, unless it is what an unsolved cell leaves behind."""
    if value is None or value is ...:
        raise NotSolvedError
    return value


def _complaint(diagnose: Diagnose, answer: tuple[object, ...]) -> Diagnosis:
    try:
        for value in answer:
            solved(value)
        return diagnose(*answer)
    except NotSolvedError:
        return "not solved yet."
    except WrongFormError as error:
        return f"{error}."
    except Exception as error:
        return f"your code stopped with {type(error).__name__}: {error}"


@contextmanager
def undisturbed(seed: int) -> Iterator[None]:
    """Run with random numbers of its own and without warnings; leave the reader's as they were."""
    token, state = _SEED.set(seed), np.random.get_state()
    try:
        with (
            torch.random.fork_rng(devices=[]),
            warnings.catch_warnings(),
            np.errstate(all="ignore"),
        ):
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            np.random.seed(seed)
            yield
    finally:
        np.random.set_state(state)
        _SEED.reset(token)
