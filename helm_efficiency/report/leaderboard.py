"""Build leaderboards: capability and efficiency of every model, by scenario and over all, with intervals and ranks.

Models are compared on the instances that all of them answered, on one stack at a time. The leaderboard's notes list
everything that this leaves out.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from helm_efficiency.catalog.helm_names import helm_model
from helm_efficiency.core.arrays import IntArray
from helm_efficiency.core.runtime_model import RuntimeCoefficients
from helm_efficiency.core.tier import Tier
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.measures import ESTIMATED, MEASURES, QUANTITIES
from helm_efficiency.report.board import Leaderboard, Options
from helm_efficiency.report.draws import StackDraws, kept_draws
from helm_efficiency.report.estimates import Answers, scenario_estimates
from helm_efficiency.report.notes import ALL, Note, bill_notes, comparison_notes, table_notes
from helm_efficiency.report.resampling import Predicted, resampling
from helm_efficiency.report.rows import columns_of, no_rows, stack_rows
from helm_efficiency.report.tables import Tables
from helm_efficiency.report.variants import with_variants

_STACK_COLUMNS = (
    *("stack_detail", "tier", "coefficients", "in_domain", "num_accelerators"),
    *(c for key in QUANTITIES if MEASURES[key].is_on_stack for c in (key, *MEASURES[key].interval_columns)),
)
"""Columns of the requests table that belong to a stack."""

_MAX_DRAWN, _FEWEST_DRAWS = 250_000, 100
"""Most draws of models in scenarios: a board of 218 scenarios and 2 models is drawn 573 times, in 1 s. With 1,000 draws
the share beyond the end of an interval has a standard error of 0.7 %, with 573 of 0.9 %, with 100 of 2.2 %."""


def build(tables: Tables, options: Options | None = None) -> Leaderboard:
    """Rank all models of scored tables; the columns are those of `rows`.

    Intervals cover the sampling of instances (bootstrap) and the error of each model's predicted runtime.

    Args:
        tables: Tables that `load_tables` returned.
        options: Options of the leaderboard; None for the defaults.

    Returns:
        One row for each stack, scenario and model, best first; seconds, dollars and joules for one request.

    Raises:
        InputError: The stack or the measure does not exist.

    Example:
        >>> from helm_efficiency import build_leaderboard, load_tables
        >>> build_leaderboard(load_tables("scored")).part()["idealized_s_front"].sum()
        np.int64(3)
    """
    options = options or Options()
    if options.sort not in ESTIMATED:
        raise InputError(f"Cannot sort by {options.sort!r}. Known measures: {', '.join(ESTIMATED)}.")
    requests = _at_known_prices(tables.requests)
    bill = bill_notes(requests, options.stack)
    requests, variant_notes = with_variants(_counted(requests, options), tables.runs)
    if options.by == "model":
        requests = _with_joined_models(requests)
    num_cells = max(requests[options.by].nunique() * requests["scenario"].nunique(), 1)
    options = replace(options, num_draws=max(_FEWEST_DRAWS, min(options.num_draws, _MAX_DRAWN // num_cells)))
    parts: list[pd.DataFrame] = []
    notes = [*table_notes(requests, tables.runs), *variant_notes]
    kept: dict[str, StackDraws] = {}
    for stack, rows in _by_stack(requests, options.stack):
        part, part_notes, draws = _stack_leaderboard(rows, options)
        parts.append(part.assign(stack=stack))
        notes += part_notes
        if draws is not None:
            kept[stack] = replace(draws, coefficients=_coefficients(rows, options.by, tables))
    notes += bill
    table = pd.concat(parts, ignore_index=True)[list(columns_of(ESTIMATED))]
    return Leaderboard(table, tuple(dict.fromkeys(notes)), options, source=tables.source, kept=kept)


def _coefficients(requests: pd.DataFrame, by: str, tables: Tables) -> dict[str, RuntimeCoefficients]:
    """Return the coefficients behind the idealized runtimes of each model that has any."""
    pairs = requests[[by, "coefficients"]].dropna().drop_duplicates(by).astype(str).itertuples(index=False, name=None)
    return {name: tables.coefficients[key] for name, key in pairs if key in tables.coefficients}


def _at_known_prices(requests: pd.DataFrame) -> pd.DataFrame:
    """Return the requests, with the API cost at today's price if no price of their day is known."""
    is_at_todays = requests["api_usd"].isna() & requests["api_usd_today"].notna()
    api_usd = requests["api_usd"].fillna(requests["api_usd_today"])
    return requests.assign(api_usd=api_usd, is_at_todays_price=is_at_todays)


def _with_joined_models(requests: pd.DataFrame) -> pd.DataFrame:
    """Return the requests with one name for the same weights, whatever each host calls them."""
    pairs = requests[["deployment", "model"]].astype(str)
    each = pairs.drop_duplicates()
    names = {
        (deployment, model): helm_model(model) or helm_model(deployment) or model
        for deployment, model in each.itertuples(index=False, name=None)
    }
    return requests.assign(model=[names[pair] for pair in pairs.itertuples(index=False, name=None)])


def _counted(requests: pd.DataFrame, options: Options) -> pd.DataFrame:
    """Return the requests that count: see `Options.perturbed` and `Options.all_splits`."""
    if not options.perturbed:
        requests = requests[requests["perturbation"].astype(object).fillna("").eq("")]
    if not options.all_splits:
        is_test = requests["split"].eq("test")
        has_test = is_test.groupby(requests["scenario"], observed=True).transform("any").astype(bool)
        requests = requests[is_test | ~has_test]
    return requests


def _by_stack(requests: pd.DataFrame, stack: str | None) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each stack with the rows of every run: those on the stack, else others with blank idealized numbers."""
    stacks = sorted(requests["stack"].dropna().unique())
    if stack is not None and stack not in stacks:
        raise InputError(f"No request is scored on stack {stack!r}. There are: {', '.join(stacks) or 'none'}.")
    run = requests.groupby(["suite", "run"], dropna=False, observed=True).ngroup()
    its_stack = requests["stack"].astype(object)
    # a run that is not on the stack gives one copy of each request: that of its first stack, or of none
    first = its_stack.groupby(run).transform("first")
    is_copy = its_stack.eq(first) | first.isna()
    for name in [stack] if stack is not None else stacks or [""]:
        on_stack = its_stack.eq(name)
        rows = requests[on_stack | (is_copy & ~on_stack.groupby(run).transform("any").astype(bool))]
        yield name, rows.assign(**{column: rows[column].where(on_stack[rows.index]) for column in _STACK_COLUMNS})


def _stack_leaderboard(requests: pd.DataFrame, options: Options) -> tuple[pd.DataFrame, list[Note], StackDraws | None]:
    """Return the rows of one stack, over all scenarios and for each, their notes, and the draws to keep."""
    if requests.empty:
        return no_rows(ESTIMATED), [], None
    codes, index = pd.factorize(requests[options.by].astype(str), sort=True)
    names = list(index)
    how = resampling(
        _predicted(requests, names, options.by),
        num_draws=options.num_draws,
        common=options.common,
        lower_is_better=options.lower_is_better,
    )
    answers = Answers.of(requests, codes)
    number, scenarios = pd.factorize(requests["scenario"], sort=True)  # in the order of the tables
    rows_of = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    estimates = {
        str(scenario): scenario_estimates(answers.where(rows), len(names), how)
        for scenario, rows in zip(scenarios, rows_of, strict=True)
    }
    blocks = [codes, number * len(names) + codes]
    sizes = [len(names), len(scenarios) * len(names)]
    identity = pd.concat([_identity(requests, *block) for block in zip(blocks, sizes, strict=True)])
    identity[options.by] = names * (1 + len(scenarios))
    table, overall = stack_rows(estimates, identity, options)
    notes = comparison_notes(estimates, overall, names, common=options.common)
    if not options.keep_draws:
        return table, notes, None
    kept = kept_draws({ALL: overall if len(estimates) > 1 else next(iter(estimates.values())), **estimates})
    return table, notes, StackDraws(names, how.fit_errors["idealized_s"], kept, {})


def _predicted(requests: pd.DataFrame, names: list[str], by: str) -> Predicted:
    """Return the coefficients and tiers of each model's idealized runtime, in the order of `names`."""
    known = requests[[by, "coefficients", "tier"]].astype(object).dropna(subset="coefficients").drop_duplicates(by)
    first = known.set_index(known[by].astype(str)).reindex(names)
    return Predicted(list(first["coefficients"].fillna("")), list(first["tier"].fillna(Tier.none)))


def _identity(requests: pd.DataFrame, rows: IntArray, num_rows: int) -> pd.DataFrame:
    """Return the identity and the numbers of doubtful requests of each row of a leaderboard; NaN for unused rows.

    Args:
        requests: Rows of the requests table.
        rows: Row of the leaderboard that each request belongs to.
        num_rows: Number of rows.
    """
    flags = {
        "num_failed": requests["success"].eq(False),
        "num_out_of_domain": requests["in_domain"].eq(False),
        "num_doubtful": requests["doubts"].notna(),
        "num_at_todays_price": requests["is_at_todays_price"],
    }
    is_used = np.bincount(rows, minlength=num_rows) > 0
    identity: dict[str, object] = {
        name: np.where(is_used, np.bincount(rows, flag.fillna(False).to_numpy(dtype=bool), num_rows), np.nan)
        for name, flag in flags.items()
    }
    for column in ("deployment", "model", "stack_detail", "tier", "score_name"):
        pairs = pd.DataFrame({"row": rows, "text": requests[column].to_numpy(dtype=object)})
        pairs = pairs.drop_duplicates().dropna().sort_values(["row", "text"])
        identity[column] = pairs.groupby("row")["text"].agg(" + ".join).reindex(range(num_rows))
    return pd.DataFrame(identity)
