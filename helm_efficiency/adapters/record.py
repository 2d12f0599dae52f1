"""Represent one request of an evaluation run of any harness as an immutable record of facts.

Prices, coefficients and everything else that may change later are joined to records afterwards, never stored in them.
A fact that is not known is None and its provenance `missing`; missing is never 0.
"""

from typing import Literal

import msgspec

from helm_efficiency.adapters.json_stream import Count, Seconds

TokenProvenance = Literal["usage", "harness", "tokenizer", "missing"]
"""Counter of the tokens: the provider, the harness, this package with the model's tokenizer, or nobody."""

Doubt = Literal[
    "media_not_counted", "prompt_as_one_token", "text_as_one_token", "reasoning_not_counted", "parts_above_total"
]
"""Reason why a count is too low. Harness's count: it covers the text but not the images, audio or video of the prompt;
the harness has no tokenizer for the model and says 1 for any prompt; its client stored a whole answer as one token; the
model reasoned before it answered, and only the answer was counted. Provider's count: more tokens are reported as cached
than the prompt has, or more as reasoning than the output has."""


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Facts of one request.

    Attributes:
        harness: `helm`, `inspect`, `lm-eval`, `every-eval-ever` or `llmperf`.
        suite: Suite or log folder that contains the run; empty if none.
        run: Name of the run, unique within its suite.
        scenario: Name of the questions asked: HELM's run name without the model, or the task.
        model: Name of the model.
        deployment: Name of the deployment; equal to `model` if the harness does not distinguish them.
        instance_id: The harness's id of the instance.
        train_trial: Index of the draw of in-context examples.
        perturbation: Name of the perturbation; empty for the original.
        split: Name of the split, such as `test` or `valid`; empty if none.
        request_mode: HELM's `original` or `calibration` for separate-choice adapters; empty otherwise.
        reference_index: Index of the reference that the request scores; None outside separate-choice adapters.
        prompt_tokens: Tokens fed to prefill, cached ones included.
        output_tokens: Tokens generated over all completions, reasoning included, an echoed prompt excluded.
        reasoning_tokens: Part of `output_tokens` that was reasoning, where known.
        cache_read_tokens: Part of `prompt_tokens` that was read from a prompt cache, where known.
        cache_write_tokens: Part of `prompt_tokens` that was written to a prompt cache, where known.
        prompt_provenance: Counter of the prompt tokens.
        output_provenance: Counter of the output tokens.
        num_completions: Number of completions asked for.
        max_completion_tokens: Tokens of the longest completion, where known; they decide the decode time of completions
            that run as one batch.
        batch_size: Number of rows that the client ran in one batch; None if it did not say.
        observed_s: Seconds the harness recorded for the request (of the whole batch, for batched clients).
        ttft_s: Seconds to the first token, if the client streamed and recorded it.
        requested_at: Time of the request, in seconds since 1970 UTC.
        cached: True if the harness answered from its own cache, so that `observed_s` is that of the first call.
        success: True if the request was answered.
        scores: Scores of the instance by metric name, higher is better or as the harness has them.
        doubts: Reasons why the counts may be too low.

    Example:
        >>> from helm_efficiency import RequestRecord
        >>> names = {"harness": "mine", "suite": "", "run": "chat", "scenario": "chat", "model": "me/model"}
        >>> RequestRecord(**names, deployment="me/model", instance_id="1", prompt_tokens=512).output_tokens is None
        True
    """

    harness: str
    suite: str
    run: str
    scenario: str
    model: str
    deployment: str
    instance_id: str
    train_trial: Count = 0
    perturbation: str = ""
    split: str = ""
    request_mode: str = ""
    reference_index: Count | None = None
    prompt_tokens: Count | None = None
    output_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    cache_read_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    prompt_provenance: TokenProvenance = "missing"
    output_provenance: TokenProvenance = "missing"
    num_completions: Count = 1
    max_completion_tokens: Count | None = None
    batch_size: Count | None = None
    observed_s: Seconds | None = None
    ttft_s: Seconds | None = None
    requested_at: Seconds | None = None
    cached: bool = False
    success: bool = True
    scores: dict[str, float] = {}
    doubts: tuple[Doubt, ...] = ()


class RunIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Attributes that all records of one run share; see `RequestRecord`."""

    suite: str
    run: str
    scenario: str
    model: str
    deployment: str


class HarnessRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one harness: its names and settings, and a record for each request.

    Attributes:
        source: Path or address of the folder or file that it was read from.
        suite: Suite or log folder that contains the run; empty if none.
        name: Name of the run, unique within its suite.
        scenario: Name of the questions asked; see `RequestRecord`.
        model: Name of the model.
        deployment: Name of the deployment; equal to `model` if the harness does not distinguish them.
        score_name: Name of its main score; None if it cannot be known.
        records: Records, one for each request.
        warnings: Messages about doubtful values, one line each.
        settings: Settings that the scenario's name leaves out, as comma-separated `key=value` pairs.
    """

    source: str
    suite: str
    name: str
    scenario: str
    model: str
    deployment: str
    score_name: str | None
    records: tuple[RequestRecord, ...]
    warnings: tuple[str, ...] = ()
    settings: str = ""
