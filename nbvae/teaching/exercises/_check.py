"""How a check speaks: one line, ✓ or ✗, and what kind of mistake it looks like."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

Diagnosis = str | None  # None: the answer is right
Diagnose = Callable[..., Diagnosis]


class NotSolvedError(Exception):
    """The answer is still the placeholder."""


class Check(NamedTuple):
    """What is said of an answer."""

    praise: str  # what a right answer has shown, a sentence
    diagnose: Diagnose  # None for a right answer, else one sentence on what it looks like


CHECKS: dict[str, Check] = {}


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


def check(number: str, *answer: object) -> None:
    """Check the answer to an exercise and print one line, ✓ or ✗.

    Whatever goes wrong in the reader's code becomes part of the line, so that the notebook runs on.

    Args:
        number: of the exercise, "5.2".
        answer: the reader's function, or what else the task asks for.

    Raises:
        ValueError: no exercise has this number.

    """
    if number not in CHECKS:
        raise ValueError(f"There is no exercise {number!r}; the numbers are: {', '.join(CHECKS)}.")
    complaint = _complaint(CHECKS[number].diagnose, answer)
    mark, text = ("✓", CHECKS[number].praise) if complaint is None else ("✗", complaint)
    print(f"{mark} Exercise {number}: {text}")


def solved(value: Any) -> Any:
    """Pass a value on, unless it is what an unsolved cell leaves behind."""
    if value is None or value is ...:
        raise NotSolvedError
    return value


def as_tensor(value: object, shape: tuple[int, ...], what: str) -> Tensor:
    """Read an answer as a float64 tensor of a certain shape.

    Raises:
        ValueError: it has another shape; the message says both.

    """
    tensor = torch.as_tensor(solved(value), dtype=torch.float64).detach()
    if tensor.shape != shape:
        raise ValueError(f"{what} should have shape {shape}, not {tuple(tensor.shape)}")
    return tensor


def close(a: ArrayLike | Tensor, b: ArrayLike | Tensor, *, within: float = 1e-4) -> bool:
    """Whether two results agree, relative to their size."""
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=within, atol=within * 1e-2))


def _complaint(diagnose: Diagnose, answer: tuple[object, ...]) -> Diagnosis:
    try:
        for value in answer:
            solved(value)
        return diagnose(*answer)
    except NotSolvedError:
        return "not solved yet."
    except ValueError as error:
        return f"{error}."
    except Exception as error:
        return f"your code stopped with {type(error).__name__}: {error}"
