"""A wall between a student's answer and the check that judges it.

The two are processes, joined by a socket. The check gets a `Remote` in place of the student's
function: calling it sends the arguments over, runs the function there, and brings the result back.
Only data go over: numbers, text, arrays, tensors, tables (`DATA`). A function stays where it is;
its `Remote` goes over. So an answer can't reach what judges it, only reply to it.

What a function does to its arguments, arrays and random generators, is repeated on the other side.
"""

import importlib
import io
import pickle
import random
import socket
import struct
import sys
from collections.abc import (
    Callable,
    ItemsView,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    Set,
    ValuesView,
)
from typing import Any, ClassVar

LARGEST = 2**28  # bytes in a message
NUMPY = ("numpy._core", "numpy.core")  # numpy 2, numpy 1
# What may be named in a message: what rebuilds data, and nothing that opens a file or runs code.
DATA = {
    *(("builtins", name) for name in ("bytearray", "complex", "frozenset", "list", "range")),
    *(("builtins", name) for name in ("dict", "float", "int", "set", "slice", "str", "tuple")),
    *(("collections", name) for name in ("Counter", "OrderedDict", "defaultdict")),
    *((f"{core}.multiarray", name) for core in NUMPY for name in ("_reconstruct", "scalar")),
    *((f"{core}.numeric", "_frombuffer") for core in NUMPY),
    *(("numpy", name) for name in ("dtype", "ndarray", "matrix")),
    *(("numpy.random._pickle", f"__{name}_ctor") for name in ("bit_generator", "generator")),
    ("numpy.random._pickle", "__randomstate_ctor"),
    ("numpy.random._pcg64", "PCG64"),
    ("numpy.random._mt19937", "MT19937"),
    ("numpy.random.bit_generator", "SeedSequence"),
    ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
    ("torch", "Size"),
    *(("torch", name) for name in ("float16", "bfloat16", "float32", "float64", "int8", "uint8")),
    *(("torch", name) for name in ("int16", "int32", "int64", "bool", "complex64", "complex128")),
    *(
        (f"scipy.sparse._{kind}", f"{kind}_{form}")
        for kind in ("csr", "csc", "coo")
        for form in ("matrix", "array")
    ),
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"),
    ("pandas._libs.internals", "_unpickle_block"),
    ("pandas.core.arrays.categorical", "Categorical"),
    ("pandas.core.dtypes.dtypes", "CategoricalDtype"),
    ("pandas.core.frame", "DataFrame"),
    ("pandas.core.series", "Series"),
    ("pandas.core.indexes.base", "Index"),
    ("pandas.core.indexes.base", "_new_Index"),
    ("pandas.core.indexes.multi", "MultiIndex"),
    ("pandas.core.indexes.range", "RangeIndex"),
    ("pandas.core.internals.managers", "BlockManager"),
    ("pandas.core.internals.managers", "SingleBlockManager"),
    (__name__, "_tensor"),
    (__name__, "_torch_generator"),
    (__name__, "_anndata"),
}


class WallError(Exception):
    """Something that is no data, and so can't go over."""


class GoneError(Exception):
    """The other side has ended."""


class Remote:
    """A function of the other side."""

    def __init__(self, link: "Link", place: int, name: str) -> None:
        self._link, self._place = link, place
        self.__name__ = self.__qualname__ = name

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function there."""
        return self._link.call(self._place, args, options)


class Link:
    """One end of the socket.

    Args:
        end: of this side.
        networks: whether a network of this side may be called from the other. A check's may not:
            an answer that asks more of it than its output would be failed.

    Attributes:
        trouble: the first error that says more of the wall than of the answer; None if all went.

    """

    def __init__(self, end: socket.socket, *, networks: bool = False) -> None:
        self.end, self.networks = end, networks
        self.randomness: dict[str, Any] = {}  # that both sides know of
        self.functions: list[Callable] = []  # of this side, that the other side may call
        self.trouble: WallError | GoneError | None = None

    def send(self, *message: Any) -> None:
        """Send a message.

        Raises:
            WallError: it holds more than data; nothing was sent.
            GoneError: nobody receives it.

        """
        try:
            text = self._dumps(message)
            self.end.sendall(struct.pack(">Q", len(text)) + text)
        except OSError as error:
            raise self._note(GoneError(str(error))) from None

    def receive(self) -> Any:
        """Return the next message.

        Raises:
            WallError: it names more than data, or is too long.
            GoneError: nobody sends one.

        """
        (size,) = struct.unpack(">Q", self._read(8))
        if size > LARGEST:
            raise self._note(WallError(f"a message of {size} bytes"))
        text = self._read(size)
        try:
            return _Unpickler(text, self).load()
        except WallError as error:
            raise self._note(error) from None
        except Exception as error:
            raise self._note(WallError(f"{type(error).__name__}: {error}")) from None

    def call(self, place: int, args: tuple, options: dict) -> Any:
        """Call a function of the other side; here it takes effect as if it had been called here."""
        self.send("call", place, args, options, self._news())
        while True:
            kind, *rest = self.receive()
            if kind == "call":  # the function calls one that it was given
                self.answer(*rest)
                continue
            if kind == "raise":
                if rest[0] == __name__:  # what it wanted to return is no data
                    self._note(WallError(rest[2]))
                raise _exception(*rest)
            value, after, state = rest
            _repeat((args, options), after)
            self._hear(state)
            return value

    def serve(self) -> None:
        """Answer calls until the other side has ended."""
        while True:
            kind, *rest = self.receive()
            if kind == "call":
                self.answer(*rest)

    def answer(self, place: int, args: tuple, options: dict, state: dict) -> None:
        """Call a function of this side for the other side."""
        try:
            self._hear(state)
            value = self.functions[place](*args, **options)
            reply: tuple = ("return", value, _changeable((args, options)), self._news())
            message = self._dumps(reply)
        except GoneError:
            raise
        except BaseException as error:
            kind = type(error)
            reply = ("raise", str(kind.__module__), str(kind.__qualname__), _text_of(error))
            message = self._dumps(reply)
        self.end.sendall(struct.pack(">Q", len(message)) + message)

    def _news(self) -> dict[str, Any]:
        """Return the states of random numbers that the other side doesn't know of."""
        state = _random_state()
        news = {name: value for name, value in state.items() if self.randomness.get(name) != value}
        self.randomness = state
        return news

    def _hear(self, news: dict[str, Any]) -> None:
        _set_random_state(news)
        self.randomness |= news

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            try:
                part = self.end.recv(min(size, 2**20))
            except OSError as error:
                raise self._note(GoneError(str(error))) from None
            if not part:
                raise self._note(GoneError("it has ended"))
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _dumps(self, message: Any) -> bytes:
        text = io.BytesIO()
        try:
            _Pickler(text, self).dump(message)
        except WallError as error:
            raise self._note(error) from None
        except Exception as error:
            raise self._note(WallError(f"{type(error).__name__}: {error}")) from None
        return text.getvalue()

    def _note(self, error: Any) -> Any:
        self.trouble = self.trouble or error
        return error


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, link: Link) -> None:
        super().__init__(file, protocol=4)
        self.link = link

    def persistent_id(self, thing: Any) -> Any:
        """Functions are named by their place; they stay on this side."""
        if not callable(thing) or _name_of(thing) in DATA:
            return None
        if isinstance(thing, Remote):
            return thing._place, thing.__name__, True
        if hasattr(thing, "named_parameters") and not self.link.networks:
            raise WallError(f"a {type(thing).__name__}")
        functions = self.link.functions
        place = next((i for i, known in enumerate(functions) if known is thing), len(functions))
        functions[place:] = functions[place:] or [thing]
        return place, str(getattr(thing, "__name__", "function")), False

    def reducer_override(self, thing: Any) -> Any:
        """Say how to rebuild what doesn't rebuild itself from `DATA` alone."""
        torch, anndata = sys.modules.get("torch"), sys.modules.get("anndata")
        if torch and isinstance(thing, torch.Tensor):
            plain = thing.detach().to_dense().cpu() if thing.is_sparse else thing.detach().cpu()
            floats = plain.float() if plain.dtype is torch.bfloat16 else plain
            return _tensor, (floats.numpy(), plain.dtype, thing.requires_grad)
        if torch and isinstance(thing, torch.Generator):
            return _torch_generator, (thing.get_state(),)
        if anndata and isinstance(thing, anndata.AnnData):
            parts = {key: dict(getattr(thing, key)) for key in ("obsm", "varm", "layers", "uns")}
            return _anndata, (thing.X, thing.obs, thing.var, parts)
        return _as_data(thing)


_PythonUnpickler: Any = pickle._Unpickler  # C's does not ask before it changes a class


class _Unpickler(_PythonUnpickler):
    dispatch: ClassVar = dict(_PythonUnpickler.dispatch)

    def __init__(self, text: bytes, link: Link) -> None:
        super().__init__(io.BytesIO(text))
        self.link = link

    def load_build(self) -> None:
        """Fill what the message makes, no class or function that is there already."""
        if callable(self.stack[-2]):
            raise WallError("a change of code")
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build

    def find_class(self, module: str, name: str) -> Any:
        """Find what rebuilds data, nothing else."""
        if (module, name) not in DATA:
            raise WallError(f"a {module}.{name}")
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        """Return a function: of the other side, or one of this side that comes home."""
        place, name, home = pid
        return self.link.functions[place] if home else Remote(self.link, int(place), str(name))


def _name_of(thing: Any) -> tuple[Any, Any]:
    return getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)


def _as_data(thing: Any) -> Any:
    """Say how to rebuild as plain data what is like data, of whatever library.

    A named tuple, a generator, a masked array, a number of sympy: as the checks read them, too.
    """
    numpy, kind = sys.modules.get("numpy"), type(thing)
    if _name_of(kind) in DATA or _name_of(thing) in DATA or isinstance(thing, type):
        return NotImplemented
    if numpy and isinstance(thing, numpy.ndarray):
        return numpy.array(thing, subok=False).__reduce__()
    for plain in (int, float, str):
        if isinstance(thing, plain):
            return plain, (plain(thing),)
    if numpy and isinstance(thing, numpy.generic | numpy.dtype | numpy.random.BitGenerator):
        return NotImplemented
    if isinstance(thing, Mapping):
        return dict, (list(thing.items()),)
    if isinstance(thing, Iterator | KeysView | ValuesView | ItemsView):
        return list, (list(thing),)
    for like, sequence in ((tuple, tuple), (Set, set), (Sequence, list)):
        if isinstance(thing, like):
            return sequence, (list(thing),)
    if hasattr(kind, "__array__"):
        array = thing.__array__()
        return array.__reduce__() if type(array).__module__ == "numpy" else NotImplemented
    for name, number in (("__index__", int), ("__float__", float)):
        if hasattr(kind, name):
            return number, (number(thing),)
    return NotImplemented


def _tensor(array: Any, dtype: Any, requires_grad: bool) -> Any:
    torch = importlib.import_module("torch")
    return torch.tensor(array, dtype=dtype).requires_grad_(bool(requires_grad))


def _torch_generator(state: Any) -> Any:
    generator = importlib.import_module("torch").Generator()
    generator.set_state(state)
    return generator


def _anndata(x: Any, obs: Any, var: Any, parts: dict) -> Any:
    return importlib.import_module("anndata").AnnData(x, obs, var, **parts)


def _text_of(error: BaseException) -> str:
    """Return what an error says; its own methods may fail."""
    try:
        return error.args[0] if [*map(type, error.args)] == [str] else str(error)
    except Exception:
        return ""


def _exception(module: str, name: str, text: str) -> Exception:
    """Make the exception again: the same class if it is Python's or the package's."""
    kind = None
    if module == "builtins" or module.partition(".")[0] == "nbvae":
        kind = getattr(sys.modules.get(module), name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except Exception:  # one that needs more than a text
            pass
    return type(str(name), (Exception,), {})(text)


def _changeable(given: tuple[tuple, dict]) -> tuple[list, dict]:
    """Return what the other side must see changed."""
    args, options = given
    return [_if_changeable(value) for value in args], {
        key: _if_changeable(value) for key, value in options.items()
    }


def _if_changeable(value: Any) -> Any:
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    kinds: tuple = (list, dict)
    kinds += (numpy.ndarray, numpy.random.Generator) if numpy else ()
    kinds += (torch.Tensor, torch.Generator) if torch else ()
    return value if isinstance(value, kinds) else None


def _repeat(given: tuple[tuple, dict], after: tuple[list, dict]) -> None:
    """Do to the arguments of this side what was done to those of the other."""
    args, options = given
    for mine, theirs in zip(args, after[0], strict=True):
        _become(mine, theirs)
    for key, theirs in after[1].items():
        _become(options[key], theirs)


def _become(mine: Any, theirs: Any) -> None:
    if type(mine) is not type(theirs):
        return
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if isinstance(mine, list):
        mine[:] = theirs
    elif isinstance(mine, dict):
        mine.clear()
        mine.update(theirs)
    elif numpy and isinstance(mine, numpy.ndarray):
        if mine.flags.writeable and mine.shape == theirs.shape:
            mine[...] = theirs
    elif numpy and isinstance(mine, numpy.random.Generator):
        mine.bit_generator.state = theirs.bit_generator.state
    elif torch and isinstance(mine, torch.Generator):
        mine.set_state(theirs.get_state())
    elif torch and isinstance(mine, torch.Tensor) and mine.shape == theirs.shape:
        with torch.no_grad():
            mine.copy_(theirs)


def _random_state() -> dict[str, Any]:
    """Return the states of the random numbers that all code of a process shares."""
    state: dict[str, Any] = {"random": random.getstate()}
    if "numpy" in sys.modules:
        kind, keys, *rest = sys.modules["numpy"].random.get_state()
        state["numpy"] = (kind, keys.tobytes(), *rest)
    if "torch" in sys.modules:
        state["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return state


def _set_random_state(state: dict[str, Any]) -> None:
    """Set them; those of a library that this side has not loaded are of no use to it."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if "random" in state:
        random.setstate(state["random"])
    if numpy and "numpy" in state:
        kind, keys, *rest = state["numpy"]
        numpy.random.set_state((kind, numpy.frombuffer(keys, dtype=numpy.uint32), *rest))
    if torch and "torch" in state:
        torch.set_rng_state(torch.frombuffer(bytearray(state["torch"]), dtype=torch.uint8))
