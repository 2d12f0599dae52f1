"""Measure how efficient each model of an evaluation is, in addition to how capable, fairly between providers.

    import helm_efficiency as he

    fit = he.Store("efficiency.sqlite").fit("me/model")
    runtime = fit.coefficients.predict(prompt_tokens=[128, 512], output_tokens=64)

The names in `__init__.pyi` are the public interface: docs/python.md lists them and says what is promised. Everything
else may change between versions. Each name is imported when it is first used, so that importing the package costs
nothing.
"""

import ast
from functools import cache
from importlib import import_module
from pathlib import Path

from helm_efficiency.version import __version__ as __version__


@cache
def _homes() -> dict[str, tuple[str, str]]:
    """Return the module that defines each public name and its name there, as the stub beside this file says."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or "": (node.module or "", alias.name) for node in imports for alias in node.names}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name == "__all__":
        return sorted(_homes())
    if name not in _homes():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, name_there = _homes()[name]
    found: object = getattr(import_module(module), name_there)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_homes()})
