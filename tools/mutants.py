"""Break the formulas of the core, one sign or term at a time, and see a test fail: `make mutants`.

A test suite is as good as the mistakes that it notices. Each mutant is one file of the package
with one change: another sign, a term or factor left out, a doubled number, a function beside the
right one. The file's own tests run on it until one fails. A mutant that passes them all survives,
is printed, and makes the exit status 1.
"""

import argparse
import ast
import copy
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.machinery import SourceFileLoader
from multiprocessing import get_context
from pathlib import Path
from types import CodeType
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TESTS = {  # of each file of nbvae/, those that should notice
    "data/minibatches": ("fast", "minibatches", "store"),
    "module/distributions": ("distributions", "likelihoods", "static"),
    "module/fast": ("fast",),
    "module/initialisation": ("initialisation", "size_factors"),
    "module/kernels": ("fast",),
    "module/likelihoods": ("likelihoods",),
    "module/nbvae": ("module", "initialisation", "fast", "bounds", "module_covariates"),
}
OTHER_OPERATOR = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
OTHER_NAME = {
    **{"log1p": "log", "expm1": "exp", "exp": "expm1", "log": "log1p", "sum": "mean"},
    **{"mul_": "div_", "div_": "mul_", "sub": "add", "addcmul_": "addcdiv_", "amax": "amin"},
    **{"softmax": "log_softmax", "sigmoid": "tanh", "softplus": "relu", "lgamma": "digamma"},
    **{"xlogy": "multiply", "logaddexp": "add", "cumsum": "cumprod", "square": "abs"},
}
NOT_RUN = 99


class Mutant(NamedTuple):
    """A module of the package with one change."""

    name: str  # of the file, "module/fast"
    line: int
    change: str  # "old → new"
    tree: ast.Module


def mutants(name: str, source: str) -> Iterator[Mutant]:
    """Make every change to a module's source, one at a time."""
    tree = ast.parse(source)
    for number, node in enumerate(ast.walk(tree)):
        for kind in range(len(list(_changes(node)))):
            changed = copy.deepcopy(tree)
            place = next(n for i, n in enumerate(ast.walk(changed)) if i == number)
            new = list(_changes(place))[kind]
            text = f"{ast.unparse(place)} → {ast.unparse(new)}"
            _replace(changed, place, new)
            yield Mutant(name, getattr(node, "lineno", 0), text, ast.fix_missing_locations(changed))


def _changes(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what an expression could have been by mistake."""
    match node:
        case ast.BinOp(left, operator, right) if type(operator) in OTHER_OPERATOR:
            yield ast.BinOp(left, OTHER_OPERATOR[type(operator)](), right)
            yield left
            yield right
            for side, keep in ((left, right), (right, left)):
                if isinstance(side, ast.Constant) and isinstance(side.value, float | int):
                    double = ast.Constant(2 * side.value or 1)
                    pair = (double, keep) if side is left else (keep, double)
                    yield ast.BinOp(pair[0], operator, pair[1])
        case ast.UnaryOp(ast.USub(), operand) if not isinstance(operand, ast.Constant):
            yield operand
        case ast.Attribute(value, attribute, context) if attribute in OTHER_NAME:
            yield ast.Attribute(value, OTHER_NAME[attribute], context)
        case ast.Name(identifier, context) if identifier in OTHER_NAME:
            yield ast.Attribute(ast.Name("torch", context), OTHER_NAME[identifier], context)


def _replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    """Put one node in the place of another."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
                return
            if isinstance(value, list) and any(item is old for item in value):
                value[[item is old for item in value].index(True)] = new
                return


def survives(mutant: Mutant) -> bool:
    """Run the module's tests on the mutant, in a process of its own."""
    child = os.fork()
    if not child:
        try:
            os._exit(_run_tests(mutant))
        finally:  # whatever happens, this process must not go on as its parent would
            os._exit(NOT_RUN)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, 1, 2):  # passed, failed, could not be imported
        where = f"{mutant.name}.py, line {mutant.line}, {mutant.change}"
        raise RuntimeError(f"{where}: pytest ended with {status}")
    return status == 0


def _run_tests(mutant: Mutant) -> int:
    import pytest

    path = str(ROOT / "nbvae" / f"{mutant.name}.py")
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        if self.path == path:
            return compile(mutant.tree, path, "exec")
        return original(self, fullname)

    setattr(SourceFileLoader, "get_code", get_code)  # noqa: B010 a type checker sees a method
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    files = [str(ROOT / "tests" / f"test_{test}.py") for test in TESTS[mutant.name]]
    already_imported = "ignore::pytest.PytestAssertRewriteWarning"
    without = [
        f"-pno:{plugin}" for plugin in ("cacheprovider", "nbval", "xdist", "hypothesispytest")
    ]
    return pytest.main(["-x", "-q", *without, "-W", already_imported, *files])


def main() -> None:
    """Try the mutants of the modules that are named, or of all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="module", help=", ".join(TESTS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants at a time")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    for needed in ("scanpy", "mpmath", "pooch", "zarr"):  # once here, then there in each process
        import_module(needed)
    import torch

    torch.set_num_threads(1)  # threads do not outlive a fork
    tried, alive = 0, 0
    with get_context("fork").Pool(options.jobs) as pool:
        for name in options.modules or TESTS:
            source = (ROOT / "nbvae" / f"{name}.py").read_text(encoding="utf-8")
            if not survives(Mutant(name, 0, "nothing", ast.parse(source))):
                sys.exit(f"The tests of {name}.py fail already without a change.")
            every = list(mutants(name, source))
            for mutant, survived in zip(every, pool.imap(survives, every), strict=True):
                if survived:
                    print(f"survives: {name}.py, line {mutant.line}: {mutant.change}", flush=True)
                    alive += 1
            tried += len(every)
    print(f"{tried} mutants, {alive} survive")
    sys.exit(alive > 0)


if __name__ == "__main__":
    main()
