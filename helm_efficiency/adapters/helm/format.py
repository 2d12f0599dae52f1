"""Types of the parts of HELM's run files that records are made of, decoded straight from JSON; the rest is skipped.

Files of every HELM version since 2022 and of forks are read: unknown keys are ignored, and keys that were added later
have defaults. The decoded objects hold no cycles, so Python's cycle collector need not look at them (`gc=False`).
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from helm_efficiency.adapters.json_stream import Count, Seconds


class Token(Struct, gc=False):
    """Output token."""

    text: str | None = None


class Thinking(Struct, gc=False):
    """Reasoning text that a client kept apart from the answer."""

    text: str | None = None


class Completion(Struct, gc=False):
    """Answer to a request. Many clients leave `tokens` empty."""

    text: str | None = None
    tokens: list[Token] | None = None
    thinking: Thinking | None = None
    finish_reason: Any = None


class MediaObject(Struct, gc=False):
    """A part of a multimodal prompt."""

    content_type: str | None = None
    text: str | None = None


class MultimediaObject(Struct, gc=False):
    """A multimodal prompt."""

    media_objects: list[MediaObject] = []


class Request(Struct, gc=False):
    """Request to the model. `model_deployment` came in 2023, `messages` and `multimodal_prompt` later."""

    model_deployment: str | None = None
    model: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    multimodal_prompt: MultimediaObject | None = None
    num_completions: Count = 1
    max_tokens: Any = None
    echo_prompt: bool = False


class RequestResult(Struct, gc=False):
    """Answer to a request. If `cached`, `request_time` is that of the first call; offline batches have `batch_*`."""

    success: bool = True
    cached: bool = False
    completions: list[Completion] | None = None
    request_time: Seconds | None = None
    request_datetime: Seconds | None = None
    batch_size: Count | None = None
    batch_request_time: Seconds | None = None


class Instance(Struct, gc=False):
    """Question of a scenario; perturbed copies share the id of their original."""

    id: str | int | None = None
    split: str | None = None
    sub_split: str | None = None
    perturbation: dict[str, Any] | None = None


class RequestState(Struct, gc=False):
    """Request made for an instance, with its result."""

    instance: Instance
    request: Request
    result: RequestResult | None = None
    train_trial_index: Count = 0
    request_mode: str | None = None
    reference_index: Count | None = None


class AdapterSpec(Struct, frozen=True, gc=False):
    """Model that was asked, and the settings of its requests."""

    method: str | None = None
    model_deployment: str | None = None
    model: str | None = None
    max_tokens: Any = None
    num_outputs: Any = None
    max_train_instances: Any = None
    instructions: Any = None
    input_prefix: Any = None
    output_prefix: Any = None
    global_prefix: Any = None


class ScenarioState(Struct, gc=False):
    """Content of `scenario_state.json`."""

    request_states: list[RequestState]
    adapter_spec: AdapterSpec | None = None


class MetricSpec(Struct, gc=False):
    """A metric of the run."""

    class_name: str = ""
    args: dict[str, Any] = {}


class RunSpec(Struct, gc=False):
    """Content of `run_spec.json`."""

    name: str
    adapter_spec: AdapterSpec = AdapterSpec()
    metric_specs: list[MetricSpec] = []
    groups: list[str] = []


class MetricName(Struct, gc=False):
    """Name of a stat."""

    name: str


class Stat(Struct, gc=False):
    """Sum over `count` values. A sum that is not a number was written as NaN or Infinity."""

    name: MetricName
    count: Annotated[float, Meta(ge=0)] = 0
    sum: float | str | None = None


class PerInstanceStats(Struct, gc=False):
    """One entry of `per_instance_stats.json`: the stats that one metric computed for one instance."""

    instance_id: str | int
    stats: list[Stat]
    train_trial_index: Count = 0
    perturbation: dict[str, Any] | None = None


RUN_SPEC = msgspec.json.Decoder(RunSpec)
REQUEST_STATES = msgspec.json.Decoder(list[RequestState])
SCENARIO_STATE = msgspec.json.Decoder(ScenarioState)
PER_INSTANCE_STATS = msgspec.json.Decoder(list[PerInstanceStats])
