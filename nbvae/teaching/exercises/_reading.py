"""Reading answers of any type, and comparing them as exactly as that type allows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse

from nbvae.teaching.exercises._check import Diagnosis, Unexplained, WrongFormError, solved

SMALLEST = 1e-2  # a result below this is compared as if it were as large
Slips = Mapping[str, Any]  # under a complaint: what it makes of a case, or several such functions


def array(
    value: object, shape: tuple[int, ...] | None = None, what: str = "the answer"
) -> np.ndarray:
    """Read an answer as an array of floating-point numbers as wide as they came.

    Lists, generators, tensors with or without a gradient, sparse matrices and tables of pandas are
    all read; whole numbers and booleans become float64.

    Args:
        value: the answer.
        shape: the shape that it should have; None: any.
        what: its name in a complaint.

    Raises:
        NotSolvedError: it is, or contains, the placeholder.
        WrongFormError: it is not made of numbers, or has another shape; the message says both.

    """
    plain = _plain(value)
    try:
        plain = np.asarray(plain)
        if plain.dtype.kind in "USc":
            raise TypeError
        if plain.dtype.kind != "f" or plain.dtype.itemsize > 8:
            plain = plain.astype(np.float64)
    except (TypeError, ValueError):
        raise WrongFormError(f"{what} should be made of numbers, not {_kind(value)}") from None
    if shape is not None and plain.shape != shape:
        raise WrongFormError(f"{what} should have shape {shape}, not {plain.shape}")
    return plain


def number(value: object, what: str = "the answer") -> np.floating:
    """Read an answer as one number; an array or tensor that holds one is one.

    Raises:
        NotSolvedError: it is the placeholder.
        WrongFormError: it is not a number, or several.

    """
    found = array(value, what=what)
    if found.size != 1:
        raise WrongFormError(f"{what} should be one number, not an array of shape {found.shape}")
    return found.dtype.type(found.item())


def numbers(value: object, names: Sequence[str]) -> list[np.floating]:
    """Read an answer as several numbers, in any kind of sequence.

    Raises:
        NotSolvedError: it is, or contains, the placeholder.
        WrongFormError: there are more or fewer, or one is not a number.

    """
    parts = sequence(value, names)
    return [number(part, name) for part, name in zip(parts, names, strict=True)]


def sequence(value: object, names: Sequence[str]) -> list[Any]:
    """Read an answer as a list of parts: a tuple, a list, a generator or the rows of an array.

    Raises:
        NotSolvedError: it is the placeholder.
        WrongFormError: it has no parts, or another number of them.

    """
    try:
        parts = list(solved(value))
    except TypeError:
        parts = [value]
    if len(parts) != len(names):
        raise WrongFormError(f"{_listed(names)} were asked for, not {len(parts)} of them")
    return parts


def truth(value: object, what: str = "the answer") -> bool:
    """Read an answer as True or False, of whatever library.

    Raises:
        NotSolvedError: it is the placeholder.
        WrongFormError: it is neither.

    """
    try:
        found = np.asarray(_plain(value))
    except ValueError:  # lists of different length
        found = np.zeros(0)
    if found.size != 1 or found.item() not in (0, 1):
        raise WrongFormError(f"{what} should be True or False, not {_kind(value)}")
    return bool(found.item())


def close(a: object, b: object, *, within: float = 1e-6, smallest: float = SMALLEST) -> bool:
    """Whether two results agree, relative to their size, as far as their arithmetic can tell.

    Small entries of an array are sums in which larger numbers may cancel: all are compared relative
    to the largest, too.
    """
    left, right = array(a), array(b)
    rtol = max(within, 16 * np.finfo(left.dtype).eps)
    left, right = left.astype(np.float64), right.astype(np.float64)
    size = max(smallest, np.abs(right).max()) if right.size > 1 else smallest
    return left.shape == right.shape and np.allclose(left, right, rtol=rtol, atol=rtol * size)


def apart(value: object, right: object) -> str:
    """Return "3.14, not 3.15", with as many digits as it takes to tell the two apart."""
    found, wanted = float(number(value)), float(number(right))
    for digits in range(4, 18):
        if f"{found:.{digits}g}" != f"{wanted:.{digits}g}":
            break
    return f"{wanted:.{digits}g}, not {found:.{digits}g}"


def slipped(value: object, slips: Mapping[str, Any], *, within: float = 1e-6) -> Diagnosis:
    """Return the complaint whose result, or one of whose results in a list, the answer has."""
    for complaint, results in slips.items():
        for result in results if isinstance(results, list) else [results]:
            if close(value, result, within=within):
                return f"{complaint}."
    return None


def compare(
    answer: Callable,
    right: Callable,
    cases: Sequence[tuple],
    slips: Slips,
    *,
    names: Sequence[str] = (),
    within: float = 1e-6,
    smallest: float = SMALLEST,
    shown: Callable[..., tuple] = lambda *case: case,
    everywhere: bool = False,
) -> Diagnosis:
    """Compare an answer with the truth, case by case, and find the slip that explains it.

    Args:
        answer: the reader's function, which returns a number.
        right: the truth, from an independent computation.
        cases: arguments for both.
        slips: what a mistake would return for a case, under the complaint about it. A slip explains
            an answer if it gives the same wherever the answer is wrong.
        names: of the arguments, for the complaint about an answer that no slip explains; none for
            arguments that are too long to be shown.
        within: the largest relative error of a right answer.
        smallest: results below this may err as much as this one.
        shown: what the names are of, from a case.
        everywhere: whether a slip has to agree with the answer where that is right, too: of two
            values, true and false, every wrong one is the same.

    """

    def same(value: object, result: object) -> bool:
        return close(value, result, within=within, smallest=smallest)

    found = [number(answer(*map(fresh, case))) for case in cases]
    wanted = [right(*case) for case in cases]
    wrong = [i for i, f in enumerate(found) if not same(f, wanted[i])]
    if not wrong:
        return None
    compared = range(len(cases)) if everywhere else wrong
    for complaint, several in slips.items():
        for slip in several if isinstance(several, tuple) else (several,):
            if all(same(found[i], slip(*cases[i])) for i in compared):
                return f"{complaint}."
    first = wrong[0]
    told = given(names, shown(*cases[first])) or "what the check passes"
    return Unexplained(f"for {told} it should be {apart(found[first], wanted[first])}.")


def fresh(value: Any) -> Any:
    """Copy what an answer may compute in: the check needs it as it was."""
    if isinstance(value, np.ndarray | list | dict):
        return value.copy()
    return value.clone() if isinstance(value, torch.Tensor) and not value.requires_grad else value


def given(names: Sequence[str], case: Sequence[Any]) -> str:
    """Return "μ = 2, θ = 0.5" for a case; nothing without names."""
    return ", ".join(f"{n} = {v:.6g}" for n, v in zip(names, case, strict=False))


def either(function: Callable, *alternatives: tuple) -> Any:
    """Call a function with the first arguments of several that it can work with.

    Raises:
        Exception: what it raises for the first, if it can't work with any.

    """
    first = None
    for arguments in alternatives:
        try:
            return function(*arguments)
        except Exception as error:
            first = first or error
    raise first or ValueError("no arguments to try")


def _plain(value: object) -> Any:
    """Undo tensors, sparse matrices and generators, also inside lists."""
    value = solved(value)
    if isinstance(value, torch.Tensor):
        dense = value.detach().to_dense() if value.layout is not torch.strided else value.detach()
        return (dense.float() if dense.dtype is torch.bfloat16 else dense).cpu().numpy()
    if isinstance(value, sparse.spmatrix | sparse.sparray):
        return value.toarray()
    if isinstance(value, Iterator):
        value = list(value)
    if isinstance(value, list | tuple):
        if all(isinstance(part, float | int) for part in value):
            return value
        return [_plain(part) for part in value]
    return value


def _kind(value: object) -> str:
    text = repr(value)
    return text if len(text) < 40 and not callable(value) else f"a {type(value).__name__}"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
