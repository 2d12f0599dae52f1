"""docs/modules.md: where to look for what, then every module room by room, with a line from its docstring.

python tests/helpers/module_list.py            # writes the page again
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "helm_efficiency"
PAGE = ROOT / "docs" / "modules.md"
ROOMS = (
    "",
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
)
"""The packages, lowest first; the empty name is the modules beside them."""
PLACES = (
    ("Token counts", "adapters.token_counts.TokenFacts", "adapters.helm.usage"),
    ("The record of a request", "adapters.record.RequestRecord"),
    ("Reading another harness", "adapters.adapters.Adapter"),
    ("Finding runs, local or remote", "adapters.sources.read_runs"),
    ("Records and coefficients joined", "metrics.efficiency.score_requests"),
    ("A price turned into dollars", "core.cost.accelerator_usd"),
    ("Prices of accelerators and APIs", "catalog.accelerators", "metrics.api_cost"),
    ("A measure: column, heading, HELM stat", "metrics.measures"),
    ("Columns of the tables", "metrics.table"),
    ("Coefficients turned into seconds", "core.runtime_model.RuntimeCoefficients"),
    ("Coefficients fitted to measurements", "core.fitting.fit.fit_profile"),
    ("Models that nobody measured", "core.transfer.model.fit_transfer"),
    ("A server under load", "core.serving.steady_state.solve"),
    ("Latencies without contention", "core.services.denoise.denoise"),
    ("Tiers of evidence", "core.tier.Tier"),
    ("Stored profiles and fits", "store.Store"),
    ("Timing a local model", "profiling.local_timing.CellTimer"),
    ("Files of other tools", "formats.detect.read_coefficient_files"),
    ("Rows of a leaderboard", "report.leaderboard.build"),
    ("The plugin of `helm-run`", "helm_plugin.plugin.EfficiencyRunner"),
    ("Commands", "cli"),
)
"""What somebody new looks for, with the module, function or class to open."""
HEAD = """# Where to look

Written by `tests/helpers/module_list.py` from the modules' docstrings. A room imports only from rooms above it
([design](design.md#rooms)).

"""
MAX_LINE_WORDS = 8
"""A line of more words is cut where a clause ends, so that the page can be read in one go."""
CLAUSE_ENDS = (
    (2, r"[:;] | \(|, (?!\w+(?: \w+)?(?:,| and| or) )"),
    (5, r",? (?:so )?(?:that|which|if|in addition|instead|with|without|while|from) "),
)
"""Where a long line is cut, and the fewest words that are left: at a comma too, but not in a list of words."""


def purpose(module: Path) -> str:
    """Return the first sentence of a module's docstring, or its first clause if it ends in a colon."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z`])", first)[0].rstrip(".:")


def line(module: Path) -> str:
    """Return a module's purpose in one short line."""
    text = purpose(module)
    if len(text.split()) <= MAX_LINE_WORDS:
        return text
    cuts = ((least, text[: end.start()]) for least, ends in CLAUSE_ENDS for end in re.finditer(ends, text))
    return next((head for least, head in cuts if len(head.split()) >= least and head.count("`") % 2 == 0), text)


def file_of(name: str) -> Path:
    """Return the file of a module, or of the module that defines a function or class.

    Raises:
        LookupError: Nothing of that name is there.
    """
    path = PACKAGE.joinpath(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    file = path.parent.with_suffix(".py")
    if re.search(rf"^(def|class) {path.name}\b", file.read_text(encoding="utf-8"), re.MULTILINE):
        return file
    raise LookupError(f"no {name} in helm_efficiency")


def rooms() -> dict[str, list[Path]]:
    """Return the modules of each package and of the packages in it, by dotted name."""
    found: dict[str, list[Path]] = {}
    for room in ROOMS:
        files = PACKAGE.glob("*.py") if not room else (PACKAGE / room).rglob("*.py")
        for file in sorted(files, key=lambda file: (file.parent, file.name)):
            if file.name != "__init__.py":
                found.setdefault(".".join(file.parent.relative_to(PACKAGE).parts), []).append(file)
    return found


def page() -> str:
    """Return the text of the whole page."""
    parts = [HEAD + "\n".join(f"- {topic}: {', '.join(map(_link, names))}" for topic, *names in PLACES)]
    for room, files in rooms().items():
        about = purpose(PACKAGE.joinpath(*room.split("."), "__init__.py")) if room else "Modules beside the rooms"
        public = [file for file in files if not file.stem.startswith("_")]
        lines = [f"- `{file.stem}`: {line(file)}" for file in public]
        if room == "cli":  # --help says more of a command than a line here
            lines = [f"One module a command, and helpers: {', '.join(f'`{file.stem}`' for file in public)}."]
        parts.append(f"## {room or 'helm_efficiency'}\n\n{about}.\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _link(name: str) -> str:
    file = file_of(name)
    return f"[`{name}`](../{(file.parent if file.name == '__init__.py' else file).relative_to(ROOT)})"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
