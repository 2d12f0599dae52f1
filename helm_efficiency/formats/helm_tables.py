"""Read HELM's tables of coefficients as fits: the two inside the installed crfm-helm, or a file of the same form.

They are read from HELM's own package, and no part of them is copied into this one. HELM states neither accelerators nor
errors. Accelerators are those of the paper. The interval of an idealized table is the error of its rule at prompt
lengths left out of the authors' logs; that of a denoised table is the largest known difference to the minima it was
made from.
"""

import json
from collections.abc import Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from helm_efficiency.catalog.device_names import accelerator_of
from helm_efficiency.catalog.reference_results import paper_num_accelerators
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.rules import PrefillRule
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.core.services.denoise import service_stack
from helm_efficiency.core.tier import Tier
from helm_efficiency.errors import CatalogError, EfficiencyError, FileFormatError, InputError
from helm_efficiency.formats.measurement_files import load_json
from helm_efficiency.formats.megatron import DEPLOYMENTS, PIPELINE_STAGES

PACKAGED = "helm-packaged"
"""Word that a user gives instead of a file for the tables inside crfm-helm."""

PACKAGED_STACK = "a100-80gb-megatron-fp16-helm2022"
"""Stack of HELM's idealized table: the authors' A100 profiles through the `paper-2022` estimator."""

_IDEALIZED, _DENOISED = "inference_idealized_runtimes.json", "inference_denoised_runtimes.json"
_MAX_PROFILED_OUTPUT_TOKENS = 64  # the longest output in the authors' logs

# 90 % of the cells at left-out prompt lengths (nine logs a generation) are within this fraction of the rule's seconds
_IDEALIZED_ERROR = {"a100": 0.061, "v100": 0.167}
_IDEALIZED_NOTE = (
    "interval: 90 % of requests at prompt lengths left out of the authors' logs; at one output token up to half"
)
# j1-grande at 256 prompt tokens: the table against the minima printed in fit_runtimes.ipynb
_DENOISED_ERROR = 0.5
_DENOISED_NOTE = "interval: the largest known difference between this table and the minima it was made from"

_PIPELINE_STAGES = {DEPLOYMENTS[log]: stages for log, stages in PIPELINE_STAGES.items()}
# number of accelerators in the authors' logs of models that are not among the paper's ten
_NUM_ACCELERATORS = {"openai/ada": 1, "together/gpt-neox-20b": 1, "together/opt-66b": 4}


def packaged_fits() -> list[Fit]:
    """Return all fits of both tables in the installed crfm-helm: idealized on `PACKAGED_STACK`, denoised on services.

    Raises:
        FileFormatError: A table is not as expected, which only a changed crfm-helm can cause.
    """
    package = resources.files("helm.benchmark.efficiency_data")
    fits = []
    for name in (_IDEALIZED, _DENOISED):
        source = f"crfm-helm {metadata.version('crfm-helm')}, {name}"
        fits += table_fits(json.loads(package.joinpath(name).read_text()), stack_name=PACKAGED_STACK, source=source)
    return fits


def is_table(data: Any) -> bool:
    """Return whether a JSON value has the form of HELM's tables."""
    first = next(iter(data.values()), None) if isinstance(data, dict) else None
    return isinstance(first, dict) and "runtime_per_output_token" in first


def read_table(path: Path, *, stack_name: str | None = None) -> list[Fit]:
    """Read a file of the form of HELM's tables.

    Raises:
        FileFormatError: The file has another form; the message names the entry.
        InputError: The stack is not named.
    """
    data = load_json(path)
    if not is_table(data):
        raise FileFormatError(f"{path}: expected a table of HELM, an object of runtimes by deployment.")
    if stack_name is None and not all("overhead" in entry for entry in data.values() if isinstance(entry, dict)):
        raise InputError(f"{path}: a table of HELM does not name its stack. Name it: --stack {PACKAGED_STACK}")
    return table_fits(data, stack_name=stack_name or "", source=str(path.name))


def table_fits(table: Mapping[str, Any], *, stack_name: str, source: str) -> list[Fit]:
    """Return the fits of a table, in its order. Entries with an overhead describe services, on the service's stack.

    Raises:
        FileFormatError: An entry is not as expected; names it.
    """
    owners = {_identity(table[name]): name for name in DEPLOYMENTS.values() if name in table}
    fits = []
    for deployment, entry in table.items():
        where = f"{source}: entry {deployment!r}"
        if isinstance(entry, dict) and "overhead" in entry:
            coefficients = _coefficients(entry, where, _DENOISED_ERROR)
            fit = Fit(deployment, service_stack(deployment), coefficients, notes=(_DENOISED_NOTE,), source=source)
        else:
            owner = owners.get(_identity(entry), deployment)
            fit = _idealized(deployment, owner, entry, stack_name=stack_name, source=source)
        fits.append(fit)
    return fits


def _identity(entry: Any) -> str:
    return json.dumps(entry, sort_keys=True)


def _idealized(deployment: str, owner: str, entry: Any, *, stack_name: str, source: str) -> Fit:
    accelerator = accelerator_of(stack_name)
    generation = accelerator.partition("-")[0]
    coefficients = _coefficients(
        entry, f"{source}: entry {deployment!r}", _IDEALIZED_ERROR.get(generation, max(_IDEALIZED_ERROR.values()))
    )
    notes = [_IDEALIZED_NOTE]
    if owner != deployment:
        notes.append(f"the table of {owner}, which was measured")
    count = _num_accelerators(deployment, owner, accelerator)
    if count is None:
        notes.append("number of accelerators not known: 1 assumed")
    stages = _PIPELINE_STAGES.get(owner, 1) if count else 1
    width = (count or 1) // stages
    stack = Stack(stack_name, accelerator, width * stages, "megatron", "", "fp16", width, stages)
    tier = Tier.measured if owner == deployment else Tier.shared
    return Fit(deployment, stack, coefficients, tier=tier, notes=tuple(notes), source=source)


def _num_accelerators(deployment: str, owner: str, accelerator: str) -> int | None:
    """Return the paper's number of accelerators for the deployment, else that of the table's owner."""
    for name in (deployment, owner):
        try:
            return paper_num_accelerators(name, accelerator)
        except CatalogError:
            if accelerator.startswith("a100") and name in _NUM_ACCELERATORS:
                return _NUM_ACCELERATORS[name]
    return None


def _coefficients(entry: Any, where: str, relative_error: float) -> RuntimeCoefficients:
    try:
        knots = tuple(sorted((int(p), float(s)) for p, s in entry["runtime_for_prompt_tokens"].items()))
        decode_s, overhead_s = float(entry["runtime_per_output_token"]), float(entry.get("overhead", 0.0))
        domain = Domain(knots[0][0], knots[-1][0], 1, _MAX_PROFILED_OUTPUT_TOKENS)
        return RuntimeCoefficients(
            PrefillRule.helm, knots, decode_s, domain, overhead_s=overhead_s, relative_error=relative_error
        )
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, EfficiencyError) as error:
        raise FileFormatError(
            f"{where}: expected runtime_per_output_token and runtime_for_prompt_tokens, seconds by prompt tokens "
            f"({type(error).__name__}: {error})."
        ) from error
