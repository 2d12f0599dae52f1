"""From one HELM request to its record: shared by archives and live runs.

Both hand in a request state; in an archive it is decoded from JSON (`helm_format`), in a live run it is HELM's own
object. The attributes are the same.
"""

import re
from typing import Any

import msgspec
from msgspec import Struct

from helm_efficiency.harness.records import RequestRecord
from helm_efficiency.harness.token_facts import RequestShape, TokenFacts

NON_SCENARIO_KEYS = frozenset({"model", "model_deployment", "efficiency"})
"""Keys of a run name that say who was asked, or what of it is measured, rather than what was asked."""

_LONGEST_TOKEN = 16
"""A stored token of more characters that has a space inside is a text, not a token."""


class RunIdentity(Struct, frozen=True, kw_only=True):
    """What the records of one run have in common; see `RequestRecord`."""

    suite: str
    run: str
    scenario: str
    model: str
    deployment: str


def scenario_of(run_name: str) -> str:
    """What was asked, out of a run's name: the name without the model and its deployment.

    >>> scenario_of("mmlu:subject=anatomy,method=multiple_choice_joint,model=openai_gpt2")
    'mmlu:subject=anatomy,method=multiple_choice_joint'
    >>> scenario_of("narrative_qa:model=openai_gpt2")
    'narrative_qa'
    """
    name, _, args = run_name.partition(":")
    # A comma may stand inside a value; only one before the next key divides.
    kept = [arg for arg in re.split(r",(?=[\w-]+=)", args) if arg.partition("=")[0] not in NON_SCENARIO_KEYS]
    return f"{name}:{','.join(kept)}" if any(kept) else name


def perturbation_label(description: dict[str, Any] | None) -> str:
    """Name of a perturbation, with its seed where it was drawn more than once.

    >>> perturbation_label({"name": "typos", "seed": 2})
    'typos#2'
    """
    if not description:
        return ""
    name, seed = str(description.get("name", "")), description.get("seed")
    return name if seed is None else f"{name}#{seed}"


def shape_of(state: Any) -> RequestShape:
    """What of a request state decides how its tokens are counted."""
    request, result = state.request, state.result
    completions = result.completions if result is not None else ()
    stored = tuple([len(completion.tokens or ()) for completion in completions])
    media = request.multimodal_prompt.media_objects if request.multimodal_prompt is not None else ()
    return RequestShape(
        completion_tokens=stored,
        has_answer=any(c.text or (c.thinking is not None and c.thinking.text) for c in completions),
        has_messages=bool(request.messages) and not request.prompt,
        has_media=any(not part.content_type.startswith("text") for part in media),
        one_token=1 in stored and any(_is_text(c.tokens[0].text) for c in completions if len(c.tokens or ()) == 1),
        echo=request.echo_prompt,
        success=result is not None and result.success,
        prompt_chars=len(request.prompt) + sum(len(part.text or "") for part in media),
    )


def _is_text(token: str | None) -> bool:
    return token is not None and len(token) > _LONGEST_TOKEN and " " in token.strip()


def record_of(
    state: Any, *, identity: RunIdentity, perturbation: str, facts: TokenFacts, scores: dict[str, float]
) -> RequestRecord:
    """The record of one request state."""
    request, result, instance = state.request, state.result, state.instance
    return RequestRecord(
        harness="helm",
        suite=identity.suite,
        run=identity.run,
        scenario=identity.scenario,
        model=request.model or identity.model,
        deployment=request.model_deployment or request.model or identity.deployment,
        instance_id=str(instance.id),
        train_trial=state.train_trial_index,
        perturbation=perturbation,
        split=instance.split or "",
        request_mode=state.request_mode or "",
        reference_index=state.reference_index,
        prompt_tokens=facts.prompt_tokens,
        output_tokens=facts.output_tokens,
        reasoning_tokens=facts.reasoning_tokens,
        cache_read_tokens=facts.cache_read_tokens,
        cache_write_tokens=facts.cache_write_tokens,
        prompt_provenance=facts.prompt_provenance,
        output_provenance=facts.output_provenance,
        num_completions=request.num_completions,
        max_completion_tokens=facts.max_completion_tokens,
        batch_size=None if result is None else result.batch_size,
        observed_s=observed_s(result),
        requested_at=None if result is None else result.request_datetime,
        cached=result is not None and result.cached,
        success=result is not None and result.success,
        scores=scores,
        doubts=facts.doubts,
    )


def observed_s(result: Any) -> float | None:
    """HELM's `inference_runtime`: seconds of the request, of its whole batch for offline batched clients."""
    if result is None:
        return None
    seconds = result.request_time
    if result.batch_request_time is not None and result.batch_size is not None:
        seconds = result.batch_request_time
    return None if seconds is None else float(seconds)


def perturbation_key(description: dict[str, Any] | None) -> bytes:
    """All of a perturbation as bytes, equal in both of HELM's files whatever the order of its keys."""
    return msgspec.json.encode(description, order="sorted") if description else b""
