"""The ten models of Narayanan et al., NeurIPS 2023, as a leaderboard of this package.

Only means over instances were published, so the instances cannot be resampled. The intervals are those of a binomial
number of correct answers, for each model on its own; they do not cover the runtimes.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from helm_efficiency.catalog.reference_results import PaperResult, PaperResults, paper_2023
from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.cost import accelerator_usd
from helm_efficiency.core.cost_per_correct import AnswerMoments
from helm_efficiency.errors import InputError
from helm_efficiency.files import write_file
from helm_efficiency.metrics.measures import MEASURES, PER_CORRECT
from helm_efficiency.report.board import Leaderboard, Options
from helm_efficiency.report.display import display
from helm_efficiency.report.draws import StackDraws, kept_draws
from helm_efficiency.report.estimates import Estimates, with_ratios
from helm_efficiency.report.formats import to_markdown
from helm_efficiency.report.notes import ALL, Note
from helm_efficiency.report.plots import providers, save_and_close, stacks, tradeoff_pages
from helm_efficiency.report.rows import columns_of, stack_rows

TITLE = "Ten models of 2023: capability and efficiency"

FIGURES = ("observed_s", "denoised_s", "idealized_s", "idealized_usd", "flops", "parameters")


def leaderboard(options: Options | None = None) -> Leaderboard:
    """Return the leaderboard of ten models, four scenarios and two stacks, from the catalog's figures.

    Args:
        options: Options of `build_leaderboard`; None for the defaults.

    Returns:
        Seconds, dollars and FLOPs for one request.

    Raises:
        InputError: The paper does not have the stack.

    Example:
        >>> from helm_efficiency import paper_leaderboard
        >>> len(paper_leaderboard().part(stack="a100"))
        10
    """
    options = options or Options()
    paper = paper_2023()
    parts = []
    kept: dict[str, StackDraws] = {}
    if options.stack is not None and options.stack not in paper.stacks:
        raise InputError(f"The paper has no stack {options.stack!r}. There are: {', '.join(paper.stacks)}.")
    for stack in paper.stacks if options.stack is None else [options.stack]:
        estimates = {scenario: _estimates(paper, stack, scenario, options) for scenario in _scenarios(paper)}
        identity = _identity(paper, stack)
        table, overall = stack_rows(estimates, pd.concat([identity] * (1 + len(estimates))), options)
        parts.append(table.assign(stack=stack))
        if options.keep_draws:
            names, no_error = list(identity["deployment"]), np.zeros((options.num_draws, len(identity)))
            kept[stack] = StackDraws(names, no_error, kept_draws({ALL: overall, **estimates}), {})
    notes = [Note(ALL, remark) for remark in paper.remarks]
    table = pd.concat(parts, ignore_index=True)
    table = table[list(columns_of(key for key in MEASURES if key in table))]
    draws = "binomial draws of the number of correct answers"
    return Leaderboard(table, tuple(notes), options, draws=draws, kept=kept)


def _scenarios(paper: PaperResults) -> list[str]:
    return list(dict.fromkeys(result.scenario for result in paper.results))


def _identity(paper: PaperResults, stack: str) -> pd.DataFrame:
    """Return one row for each model, in the order of their labels in the figures."""
    models = sorted(paper.models.values(), key=lambda model: model.label)
    accelerator, _, software = paper.stacks[stack].detail.partition(" ")
    has_any = {result.model for result in paper.results if stack in result.idealized_s}
    return pd.DataFrame(
        {
            "deployment": [model.label for model in models],
            "model": [model.name for model in models],
            "stack_detail": [
                f"{accelerator}×{model.num_accelerators[stack]} {software}" if model.name in has_any else np.nan
                for model in models
            ],
            "tier": [model.tier if model.name in has_any else np.nan for model in models],
            "score_name": "exact_match",
            "num_failed": 0,
            "num_out_of_domain": 0,
            "num_doubtful": 0,
            "num_at_todays_price": 0,
        }
    )


def _estimates(paper: PaperResults, stack: str, scenario: str, options: Options) -> Estimates:
    models = sorted(paper.models.values(), key=lambda model: model.label)
    by_model = {result.model: result for result in paper.results if result.scenario == scenario}
    results = [by_model[model.name] for model in models]
    num_instances = np.array([result.num_instances for result in results])
    accelerators = np.array([model.num_accelerators[stack] for model in models])
    idealized = _column(results, lambda result: result.idealized_s.get(stack))
    values = {
        "score": np.array([result.num_correct for result in results]) / num_instances,
        "observed_s": _column(results, lambda result: result.raw_s),
        "denoised_s": _column(results, lambda result: result.denoised_s),
        "idealized_s": idealized,
        "accelerator_s": idealized * accelerators,
        "idealized_usd": accelerator_usd(idealized * accelerators, paper.stacks[stack].usd_per_accelerator_hour),
        "flops": _column(results, lambda result: result.flops),
        "parameters": np.array([model.parameters for model in models]),
    }
    rng = np.random.default_rng(0)
    correct = rng.binomial(num_instances, values["score"], size=(options.num_draws, len(models)))
    draws = {name: np.broadcast_to(value, correct.shape) for name, value in values.items()}
    draws["score"] = correct / num_instances
    for table in (values, draws):  # an instance is one request here, and each has a score
        table |= {f"{name}_per_instance": table[name] for name in PER_CORRECT if name in table}
        table |= {f"{name}_correct": table["score"] for name in PER_CORRECT if name in table}
    known = {name: np.where(np.isnan(value), 0, num_instances) for name, value in values.items()}
    ones = np.ones(len(models), dtype=np.int64)
    return Estimates(
        with_ratios(values),
        with_ratios(draws),
        known,
        score_answered=values["score"],
        moments={
            name: AnswerMoments.of_means(values[name], values["score"], num_instances)
            for name in PER_CORRECT
            if name in values
        },
        num_requests=num_instances,
        num_instances=num_instances,
        num_answered=num_instances,
        num_scenarios=ones,
    )


def _column(results: list[PaperResult], of: Callable[[PaperResult], float | None]) -> FloatArray:
    return np.array([np.nan if (value := of(result)) is None else value for result in results])


def differences() -> pd.DataFrame:
    """Compare the published figures with means over instances: idealized runtime (s) and cost ($) on A100.

    Columns: scenario, model, published_s, mean_s, published_usd, mean_usd, and the errors of the published ones (%).
    """
    paper = paper_2023()
    stack = paper.stacks["a100"]
    rows = []
    for result in paper.results:
        model = paper.models[result.model]
        mean_s = result.idealized_s["a100"]
        accelerator_s = mean_s * model.num_accelerators["a100"]
        mean_usd = float(accelerator_usd(accelerator_s, stack.usd_per_accelerator_hour))
        rows.append(
            {
                "scenario": result.scenario,
                "model": model.label,
                "published_s": result.published_s,
                "mean_s": mean_s,
                "published_s_off_percent": round(100 * (result.published_s / mean_s - 1), 1),
                "published_usd": float(f"{result.published_usd:.4g}"),
                "mean_usd": float(f"{mean_usd:.4g}"),
                "published_usd_off_percent": round(100 * (result.published_usd / mean_usd - 1), 1),
            }
        )
    return pd.DataFrame(rows)


def provenance() -> dict[str, str]:
    """Return the origin of the numbers, as terms and their meanings."""
    paper = paper_2023()
    prices = "; ".join(
        f"{name}: ${stack.usd_per_accelerator_hour} an hour ({stack.price_source})"
        for name, stack in paper.stacks.items()
    )
    return {"Source": paper.source, "Price of an accelerator": prices}


def write_all(board: Leaderboard, folder: Path) -> list[Path]:
    """Write the leaderboards, the differences and all figures into a folder.

    Returns:
        Paths of the files, in the order in which they were written.
    """
    paths = []
    for name, text in (
        ("paper_leaderboard.md", markdown(board)),
        ("paper_differences.csv", differences().to_csv(index=False, lineterminator="\n")),
    ):
        paths.append(folder / name)
        write_file(paths[-1], text)
    for stack in board.stacks:
        parts = [board.part(scenario, stack) for scenario in board.scenarios]
        for measure in FIGURES:
            if MEASURES[measure].is_on_stack or stack == board.stacks[0]:
                name = f"paper_{measure}_{stack}.png" if MEASURES[measure].is_on_stack else f"paper_{measure}.png"
                paths.append(save_and_close(tradeoff_pages(parts, x=measure)[0], folder / name))
    return paths + _runtime_figures(board, folder)


def _runtime_figures(board: Leaderboard, folder: Path) -> list[Path]:
    paths = []
    axes = providers(board.part(board.scenarios[0], board.stacks[0]))
    paths.append(save_and_close(axes, folder / "paper_providers.png"))
    if len(board.stacks) > 1:
        axes = stacks(*(board.part(board.scenarios[0], stack) for stack in board.stacks[:2]))
        paths.append(save_and_close(axes, folder / "paper_stacks.png"))
    return paths


def markdown(board: Leaderboard) -> str:
    """Return every table of the leaderboard, stack by stack."""
    return "\n".join(
        to_markdown(display(board, scenario=scenario, stack=stack))
        for stack in board.stacks
        for scenario in (ALL, *board.scenarios)
    )
