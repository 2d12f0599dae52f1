"""Add the efficiency columns to a schema file of HELM, which defines the columns of its leaderboards.

`helm-summarize --schema-path FILE` reads the result. Existing content of a schema is kept: its own efficiency metrics,
their names and texts. Only missing content is added, so adding twice changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from helm_efficiency.catalog.user_files import parse_yaml, read_yaml
from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.helm_stats.stats import STACK_SEPARATOR, STATS, StatInfo
from helm_efficiency.metrics.measure import DETAILED_GROUP, EFFICIENCY_GROUP

_GROUPS = {
    EFFICIENCY_GROUP: ("Efficiency", "What a request takes."),
    DETAILED_GROUP: ("Efficiency (detailed)", "What a request takes, with intervals and parts."),
}
_SPLIT = "${main_split}"


def shipped_schemas() -> list[str]:
    """Return the names of the schemas inside the installed crfm-helm, such as `lite`."""
    names = (file.name for file in files("helm.benchmark.static").iterdir())
    return sorted(name[len("schema_") : -len(".yaml")] for name in names if name.startswith("schema_"))


def read_schema(name: str) -> dict[str, Any]:
    """Read a schema that crfm-helm ships, by name, or any schema by its path.

    Raises:
        InputError: The schema does not exist.
        FileFormatError: The file is not a schema.
    """
    shipped = shipped_schemas()
    if name in shipped:
        text = (files("helm.benchmark.static") / f"schema_{name}.yaml").read_text(encoding="utf-8")
        schema = parse_yaml(text, name)
    elif Path(name).is_file():
        schema = read_yaml(Path(name))
    else:
        raise InputError(f"No schema {name!r}: neither a file nor one that crfm-helm ships: {', '.join(shipped)}.")
    if not isinstance(schema, dict) or not isinstance(schema.get("run_groups"), list):
        raise FileFormatError(f"{name}: not a schema of HELM: it has no list of run_groups.")
    return schema


def add_efficiency(
    schema: Mapping[str, Any], *, stacks: Sequence[str] = (), detailed: bool = False, file: str = "schema"
) -> dict[str, Any]:
    """Return a schema that also shows efficiency, in every group of runs that shows any metric.

    Args:
        schema: Schema as read from YAML.
        stacks: Names of stacks; each gets a further column of the idealized runtime.
        detailed: Also show intervals, accelerator-seconds, energy and the rest.
        file: Path of the schema, for messages.

    Returns:
        Changed copy of the schema.

    Raises:
        FileFormatError: The schema is not one of HELM; the message names it and the unexpected value.
    """
    try:
        return _with_efficiency(deepcopy(dict(schema)), dict(_stats(stacks)), detailed=detailed)
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise FileFormatError(f"{file}: not a schema of HELM: {type(error).__name__}: {error}.") from error


def _with_efficiency(result: dict[str, Any], stats: Mapping[str, StatInfo], *, detailed: bool) -> dict[str, Any]:
    for key in ("metrics", "metric_groups"):
        result[key] = result.get(key) or []
    known = {metric["name"] for metric in result["metrics"]}
    result["metrics"] += [_field(name, info) for name, info in stats.items() if name not in known]
    for group in _GROUPS:
        _extend_group(result["metric_groups"], group, stats)
    for run_group in result["run_groups"]:
        if run_group.get("metric_groups"):
            _show(run_group, EFFICIENCY_GROUP)
            if detailed:
                _show(run_group, DETAILED_GROUP)
    return result


def to_yaml(schema: Mapping[str, Any]) -> str:
    """Return the text of a schema file."""
    text: str = yaml.safe_dump(dict(schema), sort_keys=False, allow_unicode=True, width=120)
    return text


def _stats(stacks: Sequence[str]) -> Iterator[tuple[str, StatInfo]]:
    yield from ((name, info) for name, info in STATS.items() if info.group is not None)
    name = "inference_idealized_runtime"
    for stack in stacks:
        display = f"Idealized inference runtime on {stack} (s)"
        description = f"Seconds the model would take alone on {stack}."
        info = StatInfo(display, description, f"{stack} (s)", True, EFFICIENCY_GROUP)
        yield f"{name}{STACK_SEPARATOR}{stack}", info


def _field(name: str, info: StatInfo) -> dict[str, Any]:
    field = {
        "name": name,
        "display_name": info.display_name,
        "short_display_name": info.short_display_name,
        "description": info.description,
        "lower_is_better": info.lower_is_better,
    }
    return {key: value for key, value in field.items() if value is not None}


def _extend_group(metric_groups: list[dict[str, Any]], name: str, stats: Mapping[str, StatInfo]) -> None:
    """Add stats to the group of that name; create the group if it is missing."""
    group = next((group for group in metric_groups if group["name"] == name), None)
    if group is None:
        display_name, description = _GROUPS[name]
        group = {"name": name, "display_name": display_name, "description": description}
        metric_groups.append(group)
    shown = group.setdefault("metrics", [])
    known = {metric["name"] for metric in shown}
    # the detailed group repeats the short one, because HELM shows it instead of the short one
    of_group = (EFFICIENCY_GROUP, DETAILED_GROUP) if name == DETAILED_GROUP else (EFFICIENCY_GROUP,)
    shown += [
        {"name": stat, "split": _SPLIT} for stat, info in stats.items() if info.group in of_group and stat not in known
    ]


def _show(run_group: dict[str, Any], metric_group: str) -> None:
    if metric_group not in run_group["metric_groups"]:
        run_group["metric_groups"].append(metric_group)
    run_group["environment"] = {"main_split": "test"} | (run_group.get("environment") or {})
