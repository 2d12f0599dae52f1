"""Register the run entry that probes a deployment with any HELM client: `efficiency_probe:model=…,probe=GRID`.

GRID is `paper` (5 prompt × 7 output lengths), `quick` (3 × 3), or custom lengths: `256+1024x1+16+64` means prompts of
256 and 1024 tokens, each answered with 1, 16 and 64. `model=` comes first, because the prompts are made for its
tokenizer. Trials are spread over rounds, so that a busy minute does not hit all trials of one pair of lengths.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from helm.benchmark.adaptation.adapter_spec import AdapterSpec
from helm.benchmark.adaptation.common_adapter_specs import get_completion_adapter_spec
from helm.benchmark.metrics.common_metric_specs import get_basic_generation_metric_specs
from helm.benchmark.model_deployment_registry import (
    ModelDeployment,
    get_default_model_deployment_for_model,
    get_model_deployment,
)
from helm.benchmark.run_expander import RUN_EXPANDERS, RunExpander
from helm.benchmark.run_spec import RunSpec, run_spec_function
from helm.benchmark.scenarios.scenario import ScenarioSpec
from helm.common.hierarchical_logger import hwarn

from helm_efficiency.errors import InputError
from helm_efficiency.helm_plugin.probe_scenario import SCENARIO_NAME

SCENARIO_CLASS_NAME = "helm_efficiency.helm_plugin.probe_scenario.EfficiencyProbeScenario"
TRIALS_PER_ROUND = 2


@dataclass(frozen=True, slots=True)
class ProbeGrid:
    """Lengths to probe: each prompt length with each output length."""

    prompt_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]


GRIDS: Mapping[str, ProbeGrid] = {
    "paper": ProbeGrid((1, 256, 512, 1024, 1536), (1, 2, 4, 8, 16, 32, 64)),
    "quick": ProbeGrid((16, 256, 1024), (1, 16, 64)),
}


def parse_grid(text: str) -> ProbeGrid:
    """Return a grid from its name or its lengths.

    Raises:
        InputError: The text is neither a name nor lengths.

    >>> parse_grid("256+1024x1+16")
    ProbeGrid(prompt_tokens=(256, 1024), output_tokens=(1, 16))
    """
    if text in GRIDS:
        return GRIDS[text]
    if not re.fullmatch(r"[1-9]\d*(\+[1-9]\d*)*x[1-9]\d*(\+[1-9]\d*)*", text):
        names = ", ".join(GRIDS)
        raise InputError(f"probe={text}: expected {names}, or lengths such as 256+1024x1+16+64 (prompts x outputs).")
    prompts, outputs = ([int(n) for n in part.split("+")] for part in text.split("x"))
    return ProbeGrid(tuple(prompts), tuple(outputs))


@run_spec_function(SCENARIO_NAME)  # type: ignore[untyped-decorator]
def efficiency_probe(trials: int | str = 10, session: int | str = 0) -> RunSpec:
    """Return the run from which the expander `probe` makes the runs of a grid.

    Args:
        trials: Number of requests of each pair of lengths, at least 1.
        session: Name of the session; a new one sends new prompts instead of taking answers from HELM's cache.

    Raises:
        InputError: `trials` is not such a number.
    """
    if not isinstance(trials, int) or trials < 1:  # HELM passes numbers as such, and anything else as text
        raise InputError(f"{SCENARIO_NAME}: trials={trials}, expected a number from 1.")
    return RunSpec(
        name=f"{SCENARIO_NAME}:trials={trials},session={session}",
        scenario_spec=ScenarioSpec(SCENARIO_CLASS_NAME, {"num_trials": trials, "seed": str(session)}),
        adapter_spec=get_completion_adapter_spec(max_train_instances=0),
        metric_specs=get_basic_generation_metric_specs([]),
        groups=[SCENARIO_NAME],
    )


class ProbeRunExpander(RunExpander):  # type: ignore[misc]
    """Expander `probe=GRID`, which makes one run for each output length and round, each with all prompt lengths."""

    name = "probe"

    def __init__(self, value: str) -> None:
        self.grid = parse_grid(value)

    def expand(self, run_spec: RunSpec) -> list[RunSpec]:
        """Return the runs of the grid that fit the deployment's context window, output lengths in turn in each round.

        Raises:
            InputError: The run is not a probe, does not name a model yet, or no length fits.
        """
        if run_spec.scenario_spec.class_name != SCENARIO_CLASS_NAME:
            raise InputError(f"probe= belongs to the run entry {SCENARIO_NAME}, given {run_spec.name}.")
        deployment = _deployment(run_spec.adapter_spec)
        fitting = {o: _fitting(self.grid.prompt_tokens, o, deployment) for o in self.grid.output_tokens}
        left_out = [f"{p}x{o}" for o in fitting for p in self.grid.prompt_tokens if p not in fitting[o]]
        if not any(fitting.values()):
            raise InputError(f"{deployment.name}: no length of the grid fits its context window.")
        if left_out:
            hwarn(f"{deployment.name}: too long for its context window, left out: {', '.join(left_out)}")
        num_trials = run_spec.scenario_spec.args["num_trials"]
        return [
            _run_of(run_spec, deployment, prompt_tokens=prompts, output_tokens=o, number=number)
            for number in range(math.ceil(num_trials / TRIALS_PER_ROUND))
            for o, prompts in fitting.items()
            if prompts
        ]


def _deployment(adapter_spec: AdapterSpec) -> ModelDeployment:
    name = adapter_spec.model_deployment
    if not name and adapter_spec.model:
        name = get_default_model_deployment_for_model(adapter_spec.model)
    if not name:
        raise InputError(f"{SCENARIO_NAME}: no model yet. Write model=… before probe=….")
    return get_model_deployment(name)


def _fitting(prompt_tokens: Sequence[int], output_tokens: int, deployment: ModelDeployment) -> tuple[int, ...]:
    """Return the prompt lengths that fit the context window of a deployment together with their answers."""
    window = deployment.max_sequence_length or math.inf
    longest = min(
        deployment.max_request_length or window,
        window - output_tokens,
        (deployment.max_sequence_and_generated_tokens_length or math.inf) - output_tokens,
    )
    return tuple(p for p in prompt_tokens if p <= longest)


def _run_of(
    run_spec: RunSpec, deployment: ModelDeployment, *, prompt_tokens: Sequence[int], output_tokens: int, number: int
) -> RunSpec:
    """Return one run of the grid: one output length, some trials of each prompt length."""
    args = run_spec.scenario_spec.args
    seed = f"{args['seed']}.{number}"
    scenario_args = {
        "tokenizer": deployment.tokenizer_name or deployment.name,
        "prompt_tokens": list(prompt_tokens),
        "num_trials": min(TRIALS_PER_ROUND, args["num_trials"] - TRIALS_PER_ROUND * number),
        "seed": f"{seed}.{output_tokens}",
    }
    return replace(
        run_spec,
        name=f"{run_spec.name},output_tokens={output_tokens},round={number}",
        scenario_spec=ScenarioSpec(SCENARIO_CLASS_NAME, scenario_args),
        # `random` is part of the key of HELM's request cache: a session never gets the answers of another
        adapter_spec=replace(run_spec.adapter_spec, max_tokens=output_tokens, random=seed),
    )


RUN_EXPANDERS[ProbeRunExpander.name] = ProbeRunExpander
