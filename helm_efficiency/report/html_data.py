"""Data that the script of the HTML page draws and computes with: tables by columns, draws, coefficients."""

import base64
from typing import Any

import numpy as np
import pandas as pd

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.rules import HELM_RULES
from helm_efficiency.core.runtime_model import BEYOND_DECODE, BEYOND_PREFILL, RuntimeCoefficients
from helm_efficiency.core.tier import Tier
from helm_efficiency.errors import printable
from helm_efficiency.metrics.measures import COSTS, MEASURES
from helm_efficiency.report.board import Leaderboard
from helm_efficiency.report.display import front_axis, has_numbers, short_names
from helm_efficiency.report.draws import drawn_as
from helm_efficiency.report.notes import ALL
from helm_efficiency.report.plots.panel import is_higher_better
from helm_efficiency.report.scenario_names import scenario_titles

_HEIGHTS = ("score", "win_rate")
_STEPS = 253
"""Steps between the lowest and the highest draw of a model: a byte holds them and a mark for a missing draw."""
_MISSING = 255
_BYTES_OF_ALL, _BYTES_OF_SCENARIOS = 1_000_000, 1_500_000
"""Most bytes of the draws over all scenarios, and of those of single scenarios: a page of 100 models on 50 scenarios
then has all 200 draws over all, 56 of each scenario, and less than 5 MB."""
_FEWEST_DRAWS, _MOST_DRAWS = 20, 400
"""Numbers of draws that are worth their place: a share of 400 has a standard error of at most 2.5 %."""


def table_names(board: Leaderboard) -> list[str]:
    """Return the tables of a stack by name: if it has several scenarios, the one over all; then each scenario."""
    return [ALL, *board.scenarios] if len(board.scenarios) != 1 else board.scenarios


def page_data(board: Leaderboard) -> dict[str, Any]:
    """Return the data of the page as JSON values; numbers are in the unit of print, with four significant digits."""
    names = sorted(board.table[board.options.by].astype(str).unique())
    evidence = sorted(_evidence(board.table).unique())
    first = board.part(table_names(board)[0])
    measures = _measures(board, first)
    at_load = {measure["busy"] for measure in measures.values()}  # these have a switch of their own
    axes = [name for name in measures if name not in {*_HEIGHTS, *at_load} and has_numbers(first, name)]
    axis = front_axis(first, board.options.sort)
    if axis is not None:
        axes = [axis.key, *(name for name in axes if name != axis.key)]
    fits: list[RuntimeCoefficients] = []
    return {
        "all": ALL,
        "names": [printable(name) for name in names],
        "labels": [printable(name) for name in short_names(names)],
        "evidence": [printable(text) for text in evidence],
        "measures": measures,
        "axes": axes,
        "heights": [name for name in _HEIGHTS if name in measures],
        "titles": dict(
            zip(map(printable, board.scenarios), map(printable, scenario_titles(board.scenarios)), strict=True)
        ),
        "stacks": [_stack(board, stack, names, fits) for stack in board.stacks],
        "fits": [_fit(fit) for fit in fits],
        "beyond": {"prefill": BEYOND_PREFILL, "decode": BEYOND_DECODE},
        "parts": _parts(board, names, list(measures), evidence) if axes and has_numbers(first, "score") else [],
    }


def _measures(board: Leaderboard, first: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the measures with any number: their labels and directions, and how they follow from each other."""
    names = [name for name in MEASURES if has_numbers(board.table, name)]
    return {
        name: {
            "label": MEASURES[name].axis_label,
            "better": _direction(name, first),
            "cost": name in COSTS,
            "scale": MEASURES[name].scale,
            "drawn": drawn_as(name),
            "fitted": MEASURES[name.removesuffix("_per_correct")].fitted_to,
            "ratio": name.endswith("_per_correct") or name == "provider_factor",
            "busy": busy if (busy := _busy(name)) in names else "",
            "priced": priced if (priced := _priced(name)) != name and priced in names else "",
        }
        for name in names
    }


def _direction(name: str, first: pd.DataFrame) -> int:
    """Return 1 if more of a measure is better, -1 if less is, 0 if neither is."""
    if MEASURES[name].higher_is_better is None:
        return 0
    return 1 if is_higher_better(MEASURES[name], first) else -1


def _busy(name: str) -> str:
    """Return the name that a measure has on a busy server."""
    return f"loaded_{name.removeprefix('idealized_')}"


def _priced(name: str) -> str:
    """Return the accelerator time that a cost is the price of, or the name itself."""
    return name.replace("idealized_usd", "accelerator_s").replace("loaded_usd", "loaded_accelerator_s")


def _parts(board: Leaderboard, names: list[str], measures: list[str], evidence: list[str]) -> list[dict[str, Any]]:
    cells = {True: 1, False: 1}
    for kept in board.kept.values():
        for scenario, draws in kept.scenarios.items():
            cells[scenario == ALL] += sum(column.shape[1] for name, column in draws.items() if name in measures)
    room = {True: _BYTES_OF_ALL * 3 // 4, False: _BYTES_OF_SCENARIOS * 3 // 4}  # four letters hold three bytes
    most = {is_all: min(room[is_all] // cells[is_all], _MOST_DRAWS) for is_all in room}
    parts = []
    for at, stack in enumerate(board.stacks):
        for scenario in table_names(board):
            part = board.part(scenario, stack)
            if part.empty:
                continue
            found = _part(part, names, measures, evidence, board.options.by)
            packed = {}
            if stack in board.kept and most[scenario == ALL] >= _FEWEST_DRAWS:
                kept = board.kept[stack]
                rows = [list(kept.names).index(str(name)) for name in part[board.options.by]]
                packed = {
                    name: _packed(column[: most[scenario == ALL], rows] * MEASURES[name].scale)
                    for name, column in kept.scenarios[scenario].items()
                    if name in found["columns"]
                }
            parts.append(found | {"stack": at, "scenario": printable(scenario), "draws": packed})
    return parts


def _part(part: pd.DataFrame, names: list[str], measures: list[str], evidence: list[str], by: str) -> dict[str, Any]:
    index = {name: at for at, name in enumerate(names)}
    fronts = [name for name in measures if name in COSTS]
    return {
        "models": [index[str(name)] for name in part[by]],
        "evidence": list(_evidence(part).map({text: at for at, text in enumerate(evidence)})),
        "columns": {name: _column(part, name) for name in measures if has_numbers(part, name)},
        "front": {
            name: {"likely": [round(share, 3) for share in part[f"{name}_front_probability"].fillna(0)]}
            for name in fronts
        },
    }


def _evidence(part: pd.DataFrame) -> pd.Series:
    """Return the stack and the tier of each row in words."""
    return (part["stack_detail"].fillna("").astype(str) + ", " + part["tier"].fillna(Tier.none).astype(str)).str.strip(
        ", "
    )


def _column(part: pd.DataFrame, name: str) -> list[list[Any]]:
    """Return value, low and high of each row in the unit of print; the value alone if the ends say nothing more.

    They do not if they are equal, or as far from the value as those of the measure that this one is proportional to.
    """
    cells = _with_ends(part, name) * MEASURES[name].scale
    is_like = [False] * len(cells)
    if drawn_as(name) in part and drawn_as(name) != name and not name.endswith("_per_correct"):
        like = _with_ends(part, drawn_as(name))
        products = cells[:, 1:] * like[:, :1], like[:, 1:] * cells[:, :1]
        is_like = [bool(low and high) for low, high in np.isclose(*products, rtol=0.005)]
    texts = [(_json(value), _json(low, 3), _json(high, 3)) for value, low, high in cells]
    return [
        [value] if low == high or alike else [value, low, high]
        for (value, low, high), alike in zip(texts, is_like, strict=True)
    ]


def _with_ends(part: pd.DataFrame, name: str) -> FloatArray:
    return part[[name, f"{name}_low", f"{name}_high"]].to_numpy(dtype=float)


def _json(value: float, digits: int = 4) -> float | int | str | None:
    if np.isnan(value):
        return None
    if np.isinf(value):
        return "inf"
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded


def _packed(draws: FloatArray) -> dict[str, Any]:
    """Return draws of shape (R, M) as a byte each, model by model, between the lowest and the highest of the model."""
    known = np.where(np.isfinite(draws), draws, np.nan)
    is_known = ~np.isnan(known)
    low = np.where(is_known.any(axis=0), np.min(known, axis=0, initial=np.inf, where=is_known), 0.0)
    high = np.where(is_known.any(axis=0), np.max(known, axis=0, initial=-np.inf, where=is_known), 0.0)
    step = np.where(high > low, high - low, 1.0) / _STEPS
    codes = np.where(is_known, np.rint((np.nan_to_num(known) - low) / step), _MISSING).astype(np.uint8)
    return {
        "low": [_json(end, 6) for end in low],
        "high": [_json(end, 6) for end in high],
        "codes": base64.b64encode(codes.T.tobytes()).decode(),
    }


def _stack(board: Leaderboard, stack: str, names: list[str], fits: list[RuntimeCoefficients]) -> dict[str, Any]:
    """Return the name and price of a stack, and the coefficients of its models as indices into `fits`."""
    part = board.table[board.table["stack"] == stack]
    price = None
    if has_numbers(part, "idealized_usd") and has_numbers(part, "accelerator_s"):
        price = _json(float((part["idealized_usd"] / part["accelerator_s"]).median() * 3600))
    kept = board.kept.get(stack)
    if kept is None:
        return {"name": printable(stack), "price": price, "fits": [], "errors": None}
    indices: list[int | None] = []
    for name in names:
        fit = kept.coefficients.get(name)
        if fit is not None and fit not in fits:
            fits.append(fit)
        indices.append(None if fit is None else fits.index(fit))
    columns = [list(kept.names).index(name) if name in kept.names else -1 for name in names]
    errors = np.where(np.array(columns) < 0, np.nan, kept.fit_errors[:, columns])
    return {"name": printable(stack), "price": price, "fits": indices, "errors": _packed(errors[:_MOST_DRAWS])}


def _fit(fit: RuntimeCoefficients) -> dict[str, Any]:
    """Return coefficients as the script reads them."""
    return {
        "knots": [knot for knot, _ in fit.prefill_knots],
        "seconds": [_json(seconds, 6) for _, seconds in fit.prefill_knots],
        "errors": [_json(seconds, 3) for seconds in fit.prefill_error_s],
        "nextKey": fit.rule in HELM_RULES,
        "decode": fit.decode_s_per_token,
        "context": fit.decode_s_per_context_token,
        "overhead": fit.overhead_s,
        "relativeError": fit.relative_error,
        "decodeError": fit.decode_error,
        "resolution": fit.resolution_s,
        "tail": fit.tail_s_per_token,
        "tail2": fit.tail_s_per_token_squared,
        "longest": [fit.domain.max_prompt_tokens, fit.domain.max_output_tokens],
    }
