"""Run the steps of the main job.

Each step saves its result on disk and is skipped if the result exists, so that an interrupted job can be resumed.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import date
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from helm_efficiency.errors import EfficiencyError, InputError, InsufficientMeasurementsError
from helm_efficiency.files import write_file
from helm_efficiency.store import Store

if TYPE_CHECKING:
    from helm_efficiency.quickstart.dyck_corpus import Example

SUITE = "quickstart"
_BRACKET_PAIRS = (2, 3)  # bracket kinds of the run entries

Advance = Callable[[], object]
StartStep = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Function that begins a step, given its title and number of parts (None if unknown). It yields a function to call
after each part."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Scale of the job.

    Attributes:
        step_fraction: Fraction of the training steps of each recipe.
        num_examples: Number of training examples of each kind.
        prompt_lengths: Prompt lengths in tokens that are timed.
        output_lengths: Output lengths in tokens that are timed.
        num_instances: Number of instances of each HELM run.
    """

    step_fraction: float = 1.0
    num_examples: int = 1000
    prompt_lengths: Sequence[int] = (16, 64, 128, 192)
    output_lengths: Sequence[int] = (1, 4, 16)
    num_instances: int = 80


@dataclass(frozen=True, slots=True)
class Places:
    """Folders and files of the job.

    Attributes:
        output: HELM's output folder; it contains everything but the plots.
        plots: Folder of the figures.
        store: Coefficient store.
    """

    output: Path
    plots: Path
    store: Path

    @property
    def work(self) -> Path:
        """Folder of models, logs, HELM's caches and the scored tables."""
        return self.output / SUITE

    @property
    def suite(self) -> Path:
        """Folder of HELM's runs."""
        return self.output / "runs" / SUITE

    @property
    def local_path(self) -> Path:
        """Folder of HELM's caches and configurations."""
        return self.work / "prod_env"

    @property
    def scored(self) -> Path:
        """Folder of the tables that `rescore` writes."""
        return self.work / "scored"


def run_entries_file() -> Path:
    """Return the path of `run_specs/quickstart.conf` in the checkout, else in the installation.

    Raises:
        InputError: The file is in neither of them.
    """
    name = "run_specs/quickstart.conf"
    in_checkout = Path(str(files("helm_efficiency"))).parent / name
    if in_checkout.is_file():
        return in_checkout
    for distribution in metadata.distributions(name="helm-efficiency"):
        for file in distribution.files or ():
            if file.as_posix().endswith(name) and Path(str(file.locate())).is_file():
                return Path(str(file.locate())).resolve()
    raise InputError("run_specs/quickstart.conf is neither in the checkout nor installed; install the package again.")


def start_over(places: Places) -> None:
    """Delete everything but figures."""
    for folder in (places.work, places.suite):
        shutil.rmtree(folder, ignore_errors=True)


def make_models(places: Places, scale: Scale, start: StartStep) -> list[Path]:
    """Train the missing models, and return the folders of all models."""
    from helm_efficiency.quickstart.models import RECIPES, is_made, make_model

    folder = places.work / "models"
    recipes = [replace(recipe, num_steps=round(recipe.num_steps * scale.step_fraction)) for recipe in RECIPES]
    missing = [recipe for recipe in recipes if not is_made(recipe, folder)]
    if missing:
        _forget_results(places)  # they belong to other models
        with start("Train three models", sum(recipe.num_steps for recipe in missing)) as advance:
            examples = _examples(scale.num_examples)
            for recipe in missing:
                make_model(recipe, examples, folder, on_step=advance)
    return [folder / recipe.name for recipe in recipes]


def _forget_results(places: Places) -> None:
    for folder in (places.suite, places.local_path, places.scored, places.work / "profiled", places.work / "cells"):
        shutil.rmtree(folder, ignore_errors=True)


def _examples(count: int) -> list["Example"]:
    from helm_efficiency.quickstart.dyck_corpus import dyck_examples

    return [example for pairs in _BRACKET_PAIRS for example in dyck_examples(pairs, count=count, seed=7)]


def profile_models(places: Places, scale: Scale, models: Sequence[Path], start: StartStep) -> None:
    """Time the models that have not been timed yet, and fit their coefficients."""
    from helm_efficiency.core.fitting.fit import fit_profile
    from helm_efficiency.helm_plugin.local_models import deployment_of
    from helm_efficiency.profiling.cells import Cell
    from helm_efficiency.profiling.checkpoint import CellFiles
    from helm_efficiency.profiling.choice import CellChoice
    from helm_efficiency.profiling.jobs import LocalJob, prepare_job, run_job
    from helm_efficiency.profiling.models import ModelOptions

    store = Store(places.store)
    marks = {model: places.work / "profiled" / model.name for model in models}
    missing = [model for model, mark in marks.items() if not mark.exists()]
    cells = tuple(Cell(p, o) for o in scale.output_lengths for p in scale.prompt_lengths)
    if not missing:
        return
    with start("Profile them on this machine", len(missing) * len(cells)) as advance:
        for model in missing:
            job = LocalJob(
                str(model), deployment_of(model), options=ModelOptions("cpu", "fp32"), cells=CellChoice(cells=cells)
            )
            prepared = prepare_job(job, CellFiles(places.work / "cells"))
            ((profile, _),) = run_job(prepared, on_result=lambda _: advance())
            store.put_profile(profile)
            store.put_fit(fit_profile(profile))
            marks[model].parent.mkdir(exist_ok=True)
            marks[model].touch()


def run_helm(places: Places, scale: Scale, models: Sequence[Path], start: StartStep) -> None:
    """Run HELM on the models; runs that are complete are kept."""
    from helm_efficiency.helm_plugin.commands import HelmRunOptions, helm_run
    from helm_efficiency.helm_plugin.local_models import write_configs

    conf = run_entries_file()
    total = conf.read_text().count("description:")
    done = _drop_damaged_runs(places)
    if done == total:
        return
    options = HelmRunOptions(
        conf=conf,
        suite=SUITE,
        output=places.output,
        local_path=places.local_path,
        store=places.store,
        max_eval_instances=scale.num_instances,
    )
    write_configs(models, places.local_path, release_date=date.today())
    with start("Run HELM", total) as advance:
        seen = 0

        def on_wait() -> None:
            nonlocal seen
            complete = sum(1 for _ in _complete_runs(places))
            for _ in range(complete - seen):
                advance()
            seen = complete

        helm_run(options, log=places.work / "helm-run.log", on_wait=on_wait)


def _complete_runs(places: Places) -> Iterator[Path]:
    return places.suite.glob("*/per_instance_stats.json")  # the file that HELM writes last


def _drop_damaged_runs(places: Places) -> int:
    """Remove runs with unreadable files, which an interrupted HELM leaves; return the number of complete runs."""
    from helm_efficiency.adapters.helm.runs import read_run

    whole = 0
    for file in list(_complete_runs(places)):
        try:
            read_run(file.parent)
            whole += 1
        except EfficiencyError:
            shutil.rmtree(file.parent)
    return whole


def denoise_and_rescore(places: Places, start: StartStep) -> None:
    """Fit the services to their own latencies, and write all efficiency stats into the runs."""
    from helm_efficiency.adapters.sources import find_sources
    from helm_efficiency.metrics.efficiency import Coefficients
    from helm_efficiency.rescoring.plan import StatsTarget, make_plan
    from helm_efficiency.rescoring.rescore import rescore

    store = Store(places.store)
    with start("Denoise and score every request", None) as advance:
        _denoise(places, store)
        plan = make_plan(
            Coefficients.from_store(store), stacks=[], output=places.scored.absolute(), target=StatsTarget.in_place
        )
        outcomes = rescore(plan, find_sources([str(places.suite)], besides=places.scored))
        advance()
    failed = [outcome.error for outcome in outcomes if outcome.status == "failed"]
    if failed:
        raise EfficiencyError(f"{len(failed)} runs could not be scored; the first: {failed[0]}")


def _denoise(places: Places, store: Store) -> None:
    """Fit service models to the latencies in the runs; a service is skipped if they do not determine it."""
    from helm_efficiency.adapters.sources import read_runs
    from helm_efficiency.core.services.denoise import denoise
    from helm_efficiency.metrics.services import service_fit, services

    records = (record for run in read_runs([places.suite]) for record in run.records)
    for service in services(records):
        with suppress(InsufficientMeasurementsError):
            store.put_fit(service_fit(service, denoise(service.log)))


def summarize(places: Places, start: StartStep) -> None:
    """Make HELM's own tables of the suite, with the efficiency columns."""
    from helm_efficiency.helm_plugin.commands import helm_summarize
    from helm_efficiency.helm_stats.schema import add_efficiency, read_schema, to_yaml

    schema = places.work / "schema_efficiency.yaml"
    with start("Make HELM's tables", None):
        schema.write_text(to_yaml(add_efficiency(read_schema("classic"))))
        helm_summarize(
            places.output, SUITE, local_path=places.local_path, schema=schema, log=places.work / "helm-summarize.log"
        )


def report(places: Places, start: StartStep) -> str:
    """Write the leaderboard (Markdown, CSV) and trade-off plot (PNG, PDF); return the leaderboard as text."""
    from helm_efficiency.report import formats, plots
    from helm_efficiency.report.display import display
    from helm_efficiency.report.leaderboard import build
    from helm_efficiency.report.tables import load
    from helm_efficiency.report.text import to_text

    with start("Rank and plot", 2) as advance:
        board = build(load(places.scored))
        write_file(places.plots / f"{SUITE}.md", formats.to_markdown(display(board)))
        write_file(places.plots / f"{SUITE}.csv", formats.to_csv(board))
        advance()
        for ending in ("png", "pdf"):
            path = places.plots / f"{SUITE}-tradeoff.{ending}"
            plots.save_and_close(plots.tradeoff(board.part()), path, source=board.source)
        advance()
    return to_text(display(board))
