"""Two outcomes are allowed for an unusual input: the value of the usual one, or a clear error."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch


class Error(NamedTuple):
    """The input is refused, in words that name the culprit."""

    kind: type[Exception] | tuple[type[Exception], ...]
    word: str


class Case(NamedTuple):
    """An input and what has to come of it."""

    name: str
    attempt: Callable[[Any], Any]  # from the world that the tests share to a value
    outcome: Error | Callable[[Any], Any]  # an error, or from the world to the value


def check(case: Case, world: Any) -> None:
    """Fail unless a case ends as it should."""
    if isinstance(case.outcome, Error):
        with pytest.raises(case.outcome.kind) as raised:
            case.attempt(world)
        assert case.outcome.word in str(raised.value)
        assert type(raised.value).__module__.split(".")[0] in ("builtins", "nbvae")
        return
    same(case.attempt(world), case.outcome(world))


def same(value: Any, expected: Any) -> None:
    """Fail unless two values agree to the last digit."""
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(value, expected)
    elif isinstance(expected, np.ndarray | torch.Tensor):
        np.testing.assert_array_equal(value, expected)
    else:
        assert value == expected


def cases(table: list[Case]) -> pytest.MarkDecorator:
    """Run a test once for each case, under its name."""
    names = [case.name for case in table]
    assert len(set(names)) == len(names)
    return pytest.mark.parametrize("case", table, ids=names)
