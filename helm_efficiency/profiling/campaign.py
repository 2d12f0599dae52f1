"""Profile many models on one machine in a bounded time: the most informative cells of every model first.

A campaign goes through its models in rounds. In the first round, each model is timed at the few most informative cells,
so that a short first call already measures something of every model; later rounds time the remaining cells. A campaign
can be spread over any number of calls, since every finished cell is kept.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from helm_efficiency.catalog.user_files import read_yaml
from helm_efficiency.core.measurement import Profile
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import EfficiencyError, FileFormatError, InputError
from helm_efficiency.profiling.cells import Cell, check_cell
from helm_efficiency.profiling.checkpoint import CellFiles
from helm_efficiency.profiling.choice import CellChoice
from helm_efficiency.profiling.jobs import LocalJob, PreparedJob, prepare_job, run_job
from helm_efficiency.profiling.models import ModelOptions, forget_models
from helm_efficiency.profiling.noise import Repetitions
from helm_efficiency.profiling.session import Limits, OnResult, Outcome

_MODEL_KEYS = {"dtype", "engines", "prompt_tokens", "output_tokens", "batch_sizes", "cells", "repetitions"}
_KEYS = _MODEL_KEYS | {"device", "target_error", "cells_per_round", "models"}
_OWN_KEYS = _MODEL_KEYS | {"name", "path", "sizes"}


@dataclass(frozen=True, slots=True)
class Campaign:
    """Contents of a campaign file.

    Attributes:
        jobs: One job for each model, in the order of the file.
        cells_per_round: Number of cells in all that each model and engine has after each round; a last round times the
            remaining ones.
    """

    jobs: tuple[LocalJob, ...]
    cells_per_round: tuple[int, ...] = (4,)


@dataclass(slots=True)
class Progress:
    """Progress of a campaign.

    Attributes:
        profiles: Profiles of all measurements up to now, by deployment and stack name.
        outcomes: Outcome of the last session, by deployment and stack name.
        failures: Reason why a deployment could not be profiled, by deployment.
    """

    profiles: dict[tuple[str, str], Profile] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """True if nothing is left to measure."""
        return not self.failures and all(outcome.finished for outcome in self.outcomes.values())


def read_campaign(path: Path) -> Campaign:
    """Read a campaign file (YAML). The values next to `models` are the defaults of each model.

    Raises:
        FileFormatError: The file cannot be read as a campaign; the message says what was expected.
    """
    data = read_yaml(path)
    if not isinstance(data, Mapping) or not isinstance(data.get("models"), list):
        raise FileFormatError(f"{path}: expected a mapping with a list of `models`.")
    _check_keys(path, "campaign", data, _KEYS)
    try:
        jobs = tuple(_job(path, data, entry) for entry in data["models"])
        return Campaign(jobs, tuple(int(n) for n in data.get("cells_per_round", (4,))))
    except (TypeError, ValueError, AttributeError, OverflowError, InputError) as error:
        raise FileFormatError(f"{path}: {error}") from error


def run_campaign(
    campaign: Campaign,
    files: CellFiles,
    *,
    fresh: bool = False,
    limits: Limits | None = None,
    on_model: Callable[[LocalJob, int], OnResult] | None = None,
) -> Progress:
    """Profile all models round by round. A model that cannot be profiled is noted, and the others go on.

    Returns:
        All measurements up to now, those of earlier calls included.
    """
    limits = limits or Limits()
    progress = Progress()
    prepared: dict[str, PreparedJob] = {}
    for job in campaign.jobs:
        try:
            prepared[job.deployment] = prepare_job(job, files, fresh=fresh)
        except EfficiencyError as error:
            progress.failures[job.deployment] = str(error)
    for number, max_cells in enumerate((*campaign.cells_per_round, math.inf)):
        for name, one in prepared.items():
            if name in progress.failures:
                continue
            on_result = on_model(one.job, number) if on_model else None
            try:
                for profile, outcome in run_job(one, limits=replace(limits, max_cells=max_cells), on_result=on_result):
                    key = (profile.deployment, profile.stack.name)
                    progress.profiles[key], progress.outcomes[key] = profile, outcome
            except EfficiencyError as error:
                progress.failures[name] = str(error)
                forget_models()  # it may have filled the device
    return progress


def _job(path: Path, defaults: Mapping[str, Any], entry: Any) -> LocalJob:
    """Return the job of one entry of a campaign file: a name in the catalog, or a mapping."""
    own: Any = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(own, Mapping) or "name" not in own:
        raise FileFormatError(f"{path}: model {entry!r}: expected a name or a mapping with a name.")
    _check_keys(path, f"model {own['name']!r}", own, _OWN_KEYS)
    given = {**defaults, **own}
    sizes = own.get("sizes")
    target_error = float(given.get("target_error", 0.02))
    return LocalJob(
        model=str(own.get("path", own["name"])),
        deployment=str(own["name"]),
        random_weights="path" not in own,
        options=ModelOptions(str(given.get("device", "auto")), str(given.get("dtype", "auto"))),
        engines=tuple(given.get("engines", ("transformers-eager",))),
        cells=CellChoice(
            tuple(int(p) for p in given.get("prompt_tokens", ())),
            tuple(int(o) for o in given.get("output_tokens", (1, 32))),
            tuple(int(b) for b in given.get("batch_sizes", (1,))),
            tuple(check_cell(Cell(*cell)) for cell in given.get("cells", ())),
            target_error,
        ),
        repetitions=Repetitions.of_target(int(given.get("repetitions", 5)), target_error),
        architecture=None if sizes is None else Architecture.from_dict({"name": str(own["name"]), **sizes}),
    )


def _check_keys(path: Path, what: str, given: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise FileFormatError(f"{path}: {what} has {', '.join(unknown)}; expected {', '.join(sorted(known))}.")
