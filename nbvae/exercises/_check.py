"""How a check speaks: one line, ✓ or ✗, and what kind of mistake it looks like."""

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

Diagnosis = str | None  # None: the answer is right


class NotSolvedError(Exception):
    """The answer is still the placeholder."""


def exercise(number: str, praise: str) -> Callable:
    """Turn a function that diagnoses an answer into a check that prints one line.

    The decorated function takes the reader's answer and returns None if it is right, else one
    sentence on what it looks like. The check never raises: whatever goes wrong in the reader's
    code becomes part of the line, so that the notebook runs on.

    Args:
        number: as in the task's heading, "5.2".
        praise: what a right answer has shown, a sentence.

    """

    def decorate(diagnose: Callable[..., Diagnosis]) -> Callable[..., None]:
        @wraps(diagnose)
        def check(*answer: object) -> None:
            complaint = _complaint(diagnose, answer)
            mark, text = ("✓", praise) if complaint is None else ("✗", complaint)
            print(f"{mark} Exercise {number}: {text}")

        return check

    return decorate


def solved(value: object) -> object:
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


def close(a: Tensor | float, b: Tensor | float, *, within: float = 1e-4) -> bool:
    """Whether two results agree, relative to their size."""
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=within, atol=within * 1e-2))


def _complaint(diagnose: Callable[..., Diagnosis], answer: tuple) -> Diagnosis:
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
