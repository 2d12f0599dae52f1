"""Profile models on a bare machine: torch, transformers and this package, without HELM.

    python -m helm_efficiency.profiling ./my-model --output my-model.json
    python -m helm_efficiency.profiling --campaign run_specs/campaign_h200.yaml --budget-seconds 540 --output h200.json

What it writes is read by `helm-efficiency import my-model.json` elsewhere. Call it again to go on where it was ended.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from helm_efficiency.core.measurement import Profile
from helm_efficiency.errors import EfficiencyError, InputError, one_line
from helm_efficiency.files import write_file
from helm_efficiency.profiling.campaign import read_campaign, run_campaign
from helm_efficiency.profiling.cells import CellResult
from helm_efficiency.profiling.checkpoint import CellFiles
from helm_efficiency.profiling.choice import CellChoice
from helm_efficiency.profiling.engines import ENGINES
from helm_efficiency.profiling.jobs import LocalJob, prepare_job, run_job
from helm_efficiency.profiling.models import ModelOptions
from helm_efficiency.profiling.noise import Repetitions
from helm_efficiency.profiling.parallel import is_first_process, part
from helm_efficiency.profiling.session import Limits, OnResult


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 if all is measured, 1 if something is left or failed, 2 for wrong use."""
    options = _parser().parse_args(arguments)
    try:
        status = _campaign(options) if options.campaign else _one_model(options)
        part()
        return status
    except EfficiencyError as error:
        _tell_line(f"helm_efficiency.profiling: {error}")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helm_efficiency.profiling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", nargs="?", help="folder or name of a model")
    add("--output", type=Path, required=True, help="JSON file to write; finished cells are kept beside it")
    add("--campaign", type=Path, help="YAML file of many models, instead of one")
    add("--deployment", help="name for the coefficients; by default that of the model")
    add("--random-weights", action="store_true", help="make the weights up from a config.json or an architecture")
    add("--engine", action="append", choices=list(ENGINES), help="may be given more than once")
    add("--device", default="auto")
    add("--dtype", default="auto", help="fp32, bf16 or fp16")
    add("--trust-remote-code", action="store_true", help="run Python that comes with the model")
    add("--prompt-tokens", type=numbers, default=(), help="such as 1,256,1024; by default chosen")
    add("--output-tokens", type=numbers, default=(1, 32))
    add("--batch-sizes", type=numbers, default=(1,))
    add("--repetitions", type=int, default=5)
    add("--target-error", type=float, default=0.02, help="fraction")
    add("--budget-seconds", type=float, help="no further cell is begun after this")
    add("--fresh", action="store_true", help="forget what was measured before")
    return parser


def numbers(text: str) -> tuple[int, ...]:
    """Read counts from a list with commas.

    >>> numbers("1,256,1024")
    (1, 256, 1024)
    """
    return tuple(int(part) for part in text.split(","))


def _one_model(options: argparse.Namespace) -> int:
    if not options.model:
        raise InputError("Nothing to profile: name a model, or a file with --campaign.")
    job = LocalJob(
        model=options.model,
        deployment=options.deployment or Path(options.model).name,
        random_weights=options.random_weights,
        options=ModelOptions(options.device, options.dtype, options.trust_remote_code),
        engines=tuple(options.engine or ["transformers-eager"]),
        cells=CellChoice(
            options.prompt_tokens,
            options.output_tokens,
            options.batch_sizes,
            target_error_fraction=options.target_error,
        ),
        repetitions=Repetitions.of_target(options.repetitions, options.target_error),
    )
    prepared = prepare_job(job, _files(options), fresh=options.fresh)
    limits = Limits.of_budget(options.budget_seconds)
    done = list(run_job(prepared, limits=limits, on_result=_tell(job)))
    write_profiles(options.output, (profile for profile, _ in done))
    return 0 if all(outcome.finished for _, outcome in done) else 1


def _campaign(options: argparse.Namespace) -> int:
    progress = run_campaign(
        read_campaign(options.campaign),
        _files(options),
        fresh=options.fresh,
        limits=Limits.of_budget(options.budget_seconds),
        on_model=lambda job, _: _tell(job),
    )
    write_profiles(options.output, progress.profiles.values())
    for name, reason in progress.failures.items():
        _tell_line(f"{name} failed: {reason}")
    return 0 if progress.complete else 1


def _files(options: argparse.Namespace) -> CellFiles:
    return CellFiles(options.output.with_suffix(".cells"))


def _tell(job: LocalJob) -> OnResult:
    def tell(result: CellResult) -> None:
        seconds = [m.seconds for m in result.measurements]
        what = f"{min(seconds):.4f} s at best of {len(seconds)}" if seconds else ""
        _tell_line(f"{job.deployment} {result.cell}: {' '.join(part for part in (what, result.note) if part)}")

    return tell


def _tell_line(text: str) -> None:
    sys.stderr.write(one_line(text) + "\n")


def write_profiles(path: Path, profiles: Iterable[Profile]) -> None:
    """Write profiles as `helm-efficiency import` reads them. Of several processes on one model, the first writes.

    Raises:
        OutputError: The file cannot be written; an earlier one is left as it was.
    """
    if is_first_process():
        write_file(path, json.dumps([asdict(profile) for profile in profiles], indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
