"""The wall between an answer and its check: data go over as they are, nothing else does."""

import os
import pickle
import random
import socket
import struct
import sys
from array import array
from collections import UserDict, UserList, deque
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType

import mpmath
import numpy as np
import pandas as pd
import pytest
import torch
import wall
from anndata import AnnData
from answers import RIGHT
from grade import GRADIENTS
from scipy import sparse

from nbvae.teaching.exercises import _reading as reading
from nbvae.teaching.exercises import check

# Their checks need more of an answer than data: gradients, networks, classes.
TOGETHER = {*GRADIENTS, "5.1", "5.2", "5.6", "6.5", "11.5", "12.3", "12.4"}


class Side:
    """Another process that has a function."""

    def __init__(self, function):
        here, there = socket.socketpair()
        self.process = os.fork()
        if self.process == 0:
            try:
                here.close()
                torch.set_num_threads(1)  # threads do not outlive a fork; numba's raise the number
                link = wall.Link(there, networks=True)
                link.send(function)
                link.serve()
            finally:
                os._exit(0)
        there.close()
        self.link = wall.Link(here)

    def __enter__(self):
        (function,) = self.link.receive()
        return function, self.link

    def __exit__(self, *error):
        self.link.end.close()
        os.waitpid(self.process, 0)


def same(x):
    return x


DATA = [
    *(None, True, 3, 2.5, 1j, "text ≈ \ud800", b"bytes", range(3), slice(1, 2)),
    *([1, [2]], (1, "a"), {"a": (1,)}, {1, 2}, frozenset({1})),
    *(np.arange(6).reshape(2, 3).T, np.float32(2), np.array(["a", None], dtype=object)),
    *(np.zeros((0, 3)), np.array(["a", "bc"]), np.bool_(True), np.datetime64("2020-01-01")),
    *(
        torch.arange(3),
        torch.tensor(2.0),
        torch.ones(2, dtype=torch.bfloat16),
        torch.ones(2) + 0j,
        torch.Size([1]),
    ),
    *(sparse.csr_matrix(np.eye(2)), sparse.csc_array(np.eye(2)), torch.float64),
    *(pd.Series([1.0], index=["a"]), pd.DataFrame({"a": [1], "b": ["x"]}), pd.Index([1, 2])),
    pd.Series(pd.Categorical(["u", "v"])),
]


@pytest.mark.parametrize("value", DATA, ids=lambda value: type(value).__name__)
def test_data_come_back_as_they_were(value):
    with Side(same) as (there, link):
        back = there(value)
    assert type(back) is type(value)
    assert repr(back) == repr(value)
    assert link.trouble is None


def test_an_anndata_comes_back(small):
    with Side(same) as (there, _):
        back = there(small)
    assert (back.X != small.X).nnz == 0
    assert back.obs.equals(small.obs)
    assert list(back.var_names) == list(small.var_names)
    assert isinstance(back, AnnData)


def test_what_is_like_data_becomes_data():
    with Side(lambda: (np.int64(i) for i in range(3))) as (there, _):
        assert there() == [0, 1, 2]
    with Side(lambda: {"a": 1}.items()) as (there, _):
        assert there() == [("a", 1)]


LIKE_DATA = [
    *(np.ma.array([1.0, 2.0]), np.ones(2).view(np.recarray), deque([1, 2]), array("d", [1.0])),
    *(UserList([1]), UserDict(a=1), mpmath.mpf(2), Fraction(1, 2), Decimal("0.5")),
    torch.nn.Parameter(torch.ones(2)),
    *(pd.array([1, 2]), MappingProxyType({"a": 1}), np.longdouble(2), memoryview(b"ab")),
]


@pytest.mark.parametrize("value", LIKE_DATA, ids=lambda value: type(value).__name__)
def test_a_check_reads_numbers_of_any_library_as_it_reads_them_here(value):
    with Side(lambda: value) as (there, link):
        back = there()
    assert link.trouble is None
    as_read = (lambda v: dict(v)) if isinstance(value, Mapping) else (lambda v: reading.array(v))
    assert np.all(as_read(back) == as_read(value))


@pytest.mark.parametrize(
    "make",
    [object, lambda: type("A", (), {})(), lambda: socket.socket()],
    ids=["object", "own", "socket"],
)
def test_what_is_no_data_is_noted(make):
    with Side(lambda: make()) as (there, link):
        with pytest.raises(Exception, match=r"[a-z]"):
            there()
        assert isinstance(link.trouble, wall.WallError)


def test_functions_are_called_where_they_are():
    with Side(lambda f, x: (os.getpid(), f(x), lambda y: y + os.getpid())) as (there, _):
        process, twice, add = there(lambda x: (os.getpid(), 2 * x), 3)
        assert twice == (os.getpid(), 6)
        assert process != os.getpid()
        assert add(1) == process + 1


def test_a_network_can_be_called_by_the_check_alone():
    with Side(lambda: torch.nn.Softmax(dim=-1)) as (there, _):
        assert there()(torch.zeros(2)).tolist() == [0.5, 0.5]
        with pytest.raises(wall.WallError, match="Softmax"):
            there(torch.nn.Softmax(dim=-1))


def test_a_function_that_comes_home_is_itself():
    def mine():
        pass

    with Side(same) as (there, _):
        assert there(mine) is mine
        assert there([mine])[0] is mine


def test_changed_arguments_are_changed_here_too():
    def change(array, tensor, items, table, rng):
        array[0], tensor[0], table["a"] = 7, 7, 7
        items.append(7)
        return rng.random()

    array, tensor, items, table = np.zeros(2), torch.zeros(2), [1], {}
    rng, twin = np.random.default_rng(0), np.random.default_rng(0)
    with Side(change) as (there, _):
        drawn = [there(array, tensor, items, table, rng=rng) for _ in range(2)]
    assert (array[0], tensor[0].item(), table, items) == (7, 7, {"a": 7}, [1, 7, 7])
    assert drawn == [twin.random(), twin.random()]


def test_shared_random_numbers_go_on_there():
    def draw():
        return random.random(), np.random.random(), torch.rand(()).item()

    for both in (draw, None):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        with Side(draw) as (there, _):
            drawn = [(both or there)() for _ in range(2)] + [draw()]
        if both:
            expected = drawn
    assert drawn == expected


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ValueError("no"), ValueError, "no"),
        (KeyError("a"), KeyError, "a"),
        (SystemExit(3), Exception, "3"),
        (type("Own", (Exception,), {})("mine"), Exception, "mine"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "bad"), Exception, "bad"),
    ],
)
def test_errors_are_raised_here(error, kind, text):
    def fail():
        raise error

    with Side(fail) as (there, link), pytest.raises(kind, match=text) as raised:
        there()
    assert raised.type.__name__ == type(error).__name__
    assert link.trouble is None


def messages():
    """What a hostile side may send in place of an answer."""
    evil = [
        b"cos\nsystem\n(S'touch evil'\ntR.",
        b'cbuiltins\neval\n(S\'open("evil","w")\'\ntR.',
        pickle.dumps(os.system),
        pickle.dumps(np.load, 4),
        pickle.dumps(pd.read_pickle, 4),
        b"\x80\x04\x8c\x05numpy\x8c\x0blib.npyio.x\x93.",
        b"not a pickle",
        b"",
    ]
    yield from (struct.pack(">Q", len(text)) + text for text in evil)
    yield struct.pack(">Q", 2**62)


@pytest.mark.parametrize("message", list(messages()))
def test_code_does_not_go_over(message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here, there = socket.socketpair()
    with here, there:
        there.sendall(message)
        link = wall.Link(here)
        with pytest.raises(wall.WallError):
            link.receive()
    assert link.trouble
    assert list(tmp_path.iterdir()) == []


TABLES = ("scipy.sparse._csr", "csr_matrix"), ("pandas.core.indexes.base", "Index")


@pytest.mark.parametrize("kind", [*TABLES, ("wall", "_tensor"), ("collections", "Counter")])
def test_no_message_changes_a_class_or_a_function(kind):
    """In the process of the check, what it reads would be read by the answer's methods."""
    module, name = kind
    state = pickle.dumps((None, {"toarray": 7, "__defaults__": None}), 2)[2:-1]
    text = f"c{module}\n{name}\n".encode() + state + b"b."
    here, there = socket.socketpair()
    with here, there:
        there.sendall(struct.pack(">Q", len(text)) + text)
        with pytest.raises(wall.WallError, match="a change of code"):
            wall.Link(here).receive()
    assert getattr(getattr(sys.modules[module], name), "toarray", None) != 7


def test_the_end_of_the_other_side_is_noted():
    with Side(lambda: os._exit(1)) as (there, link):
        with pytest.raises(wall.GoneError):
            there()
        assert isinstance(link.trouble, wall.GoneError)


@pytest.mark.slow
@pytest.mark.parametrize("number", sorted(RIGHT.keys() - TOGETHER))
def test_right_answers_are_right_from_behind_the_wall(number, capsys):
    """The list is what `make grade` finds out for itself, from the worked answers."""
    for answer in RIGHT[number]:
        with Side(answer) as (there, link):
            check(number, there)
        assert link.trouble is None
        assert f"✓ Exercise {number}:" in capsys.readouterr().out
