"""docs/modules.md: every module by floor, with the first sentence of its docstring.

python tests/helpers/module_list.py            # writes the page anew
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "helm_efficiency"
PAGE = ROOT / "docs" / "modules.md"
FLOORS = (
    "core",
    "catalog",
    "profiling",
    "formats",
    "adapters",
    "metrics",
    "helm_stats",
    "rescoring",
    "report",
    "helm_plugin",
    "quickstart",
    "cli",
    "harness",
)
"""The packages, lowest first."""
HEAD = """# Every module and its purpose

By floor, lowest first; a floor imports only those above it in this list ([design](design.md#the-floors)). Made from the
first sentences of the modules' docstrings by `tests/helpers/module_list.py`.
"""


def purpose(module: Path) -> str:
    """The first sentence of a module's docstring, or its first clause if it ends in a colon."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z`])", first)[0].rstrip(".:")


def modules() -> dict[str, list[Path]]:
    """Files by floor; those that belong to no package first."""
    found = {"alone": sorted(PACKAGE.glob("*.py"))}
    for floor in FLOORS:
        found[floor] = sorted((PACKAGE / floor).rglob("*.py"))
    return found


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for floor, files in modules().items():
        parts.append(f"## {'Beside the floors' if floor == 'alone' else floor}\n\n| module | purpose |\n|---|---|")
        for file in files:
            name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
            parts.append(f"| `{name or 'helm_efficiency'}` | {purpose(file)} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
