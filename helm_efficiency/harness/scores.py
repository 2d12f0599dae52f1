"""Which of a run's stats are scores, and which of them is the main one."""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

BOOKKEEPING_PREFIXES = (
    *("num_", "max_num_", "finish_reason_", "inference_", "training_", "estimated_", "platt_", "ece_"),
    *("idealized_", "api_cost_", "prompt_tokens_from_", "output_tokens_from_"),
)
"""Stats whose names begin so count, time, price or calibrate; they do not score an answer. The second line is ours."""

BOOKKEEPING_NAMES = frozenset(
    {
        "batch_size",
        "prompt_truncated",
        "prompt_length",
        "max_prob",
        "predicted_index",
        "logprob",
        "logprob_per_byte",
        "bits_per_byte",
        "perplexity",
        "denoised_runtime",
        "runtime_efficiency_ratio",
    }
)
"""Further stats that do not score an answer."""


@lru_cache(maxsize=4096)
def is_score(name: str) -> bool:
    """Whether a HELM stat scores an answer, as against bookkeeping and efficiency.

    >>> [name for name in ("exact_match", "num_prompt_tokens", "finish_reason_stop", "logprob") if is_score(name)]
    ['exact_match']
    """
    return name not in BOOKKEEPING_NAMES and not name.startswith(BOOKKEEPING_PREFIXES)


def main_score(groups: Sequence[str], metric_args: Iterable[dict[str, Any]], available: Collection[str]) -> str | None:
    """Name of a run's main score, or None where it cannot be known.

    HELM's leaderboards say it for each group of runs; else it is the first name that a metric was asked for; else
    the only one there is.

    Args:
        groups: Groups of the run spec.
        metric_args: Arguments of the run's metrics, in order.
        available: Names of the scores that the run has.
    """
    schemas = main_scores_of_groups() if groups else {}
    lists = (names for args in metric_args if isinstance(names := args.get("names"), list))
    asked_for = (name for names in lists for name in names if isinstance(name, str))
    of_groups = (name for group in groups for name in schemas.get(group, ()))
    for name in (*of_groups, *asked_for):
        if name in available:
            return name
    return next(iter(available)) if len(available) == 1 else None


@cache
def main_scores_of_groups() -> dict[str, tuple[str, ...]]:
    """Main score names by run group, over all leaderboards inside the installed HELM; Classic's last. Read once."""
    found: dict[str, dict[str, None]] = {}
    schemas = [f for f in files("helm.benchmark.static").iterdir() if f.name.startswith("schema_")]
    for file in sorted(schemas, key=lambda f: (f.name == "schema_classic.yaml", f.name)):
        for group in _run_groups(file):
            name = (group.get("environment") or {}).get("main_name")
            if name:
                found.setdefault(group["name"], {})[name] = None
    return {group: tuple(names) for group, names in found.items()}


_RUN_GROUPS = re.compile(r"^run_groups:.*?(?=^\w|\Z)", re.MULTILINE | re.DOTALL)
"""That part of a schema: the rest takes as long again to read."""


def _run_groups(file: Traversable) -> list[dict[str, Any]]:
    import yaml

    part = _RUN_GROUPS.search(file.read_text(encoding="utf-8"))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return (yaml.load(part[0], Loader=loader)["run_groups"] or []) if part else []
