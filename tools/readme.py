"""Run the README's example with the package that is installed, not with the one beside it."""

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def example(text: str) -> str:
    """Return the code that a page shows first as Python."""
    found = re.search(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError("there is no Python in it")
    return found[1]


def main() -> int:
    """Run from the command line."""
    import nbvae

    if Path(sys.prefix).resolve() not in Path(nbvae.__file__).resolve().parents:
        print(f"This would be the package in {nbvae.__path__}", file=sys.stderr)
        return 1
    names: dict[str, object] = {}
    exec(compile(example(README.read_text(encoding="utf-8")), str(README), "exec"), names)
    print(names["adata"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
