"""Turn one HELM request into its record, for archives and live runs alike.

Both pass a request state; in an archive it is decoded from JSON (`helm_format`), in a live run it is HELM's own object.
The attributes are the same.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from helm_efficiency.adapters.record import Doubt, RequestRecord, RunIdentity
from helm_efficiency.adapters.token_counts import OUTPUT_DOUBTS, PROMPT_DOUBTS, RequestShape, TokenFacts, without

NON_SCENARIO_KEYS = frozenset(
    {"model", "model_deployment", "tokenizer", "stop", "add_to_stop", "global_prefix", "newline", "efficiency"}
)
"""Keys of a run name that describe the model, or settings that HELM adapts to each model, rather than the scenario."""

_LONGEST_TOKEN = 16
"""A stored token with more characters and a space inside is taken for a text, not a token."""


def scenario_of(run_name: str) -> str:
    """Return the scenario from a run's name: the name without the model and its deployment.

    >>> scenario_of("mmlu:subject=anatomy,method=multiple_choice_joint,model=openai_gpt2")
    'mmlu:subject=anatomy,method=multiple_choice_joint'
    >>> scenario_of("narrative_qa:model=openai_gpt2")
    'narrative_qa'
    """
    name, _, args = run_name.partition(":")
    # A value may contain a comma; only a comma before the next key divides.
    kept = [arg for arg in re.split(r",(?=[\w-]+=)", args) if arg.partition("=")[0] not in NON_SCENARIO_KEYS]
    return f"{name}:{','.join(kept)}" if any(kept) else name


_WHO_WAS_ASKED = frozenset({"model", "model_deployment", "tokenizer", "efficiency"})
_PROMPT_PARTS = ("instructions", "input_prefix", "output_prefix", "global_prefix")


def settings_of(run_name: str, adapter: Any) -> str:
    """Return the settings that the scenario's name leaves out: limits, examples, prompt, stop sequences.

    >>> from helm_efficiency.adapters.helm.format import AdapterSpec
    >>> settings_of("gsm:model=openai_gpt2,stop=none", AdapterSpec(max_tokens=400))
    'max_tokens=400,stop=none'
    """
    names = ("max_tokens", "num_outputs", "max_train_instances")
    pairs = {name: value for name in names if (value := getattr(adapter, name)) is not None}
    parts = [getattr(adapter, name) for name in _PROMPT_PARTS]
    if any(parts):
        pairs["prompt"] = hashlib.sha256(repr(parts).encode()).hexdigest()[:6]
    _, _, args = run_name.partition(":")
    for argument in re.split(r",(?=[\w-]+=)", args):
        key, _, value = argument.partition("=")
        if key in NON_SCENARIO_KEYS - _WHO_WAS_ASKED:
            pairs[key] = value
    return ",".join(f"{key}={value}" for key, value in pairs.items())


def perturbation_label(description: dict[str, Any] | None) -> str:
    """Return the name of a perturbation, with its seed if it was drawn more than once.

    >>> perturbation_label({"name": "typos", "seed": 2})
    'typos#2'
    """
    if not description:
        return ""
    name, seed = str(description.get("name", "")), description.get("seed")
    return name if seed is None else f"{name}#{seed}"


def shape_of(state: Any) -> RequestShape:
    """Return the facts of a request state that decide how its tokens are counted."""
    request, result = state.request, state.result
    completions = (result.completions or ()) if result is not None else ()
    stored = tuple([len(completion.tokens or ()) for completion in completions])
    texts = [completion.text or "" for completion in completions]
    reasons_apart = any([bool(_thoughts(c)) for c in completions if c.thinking is not None])  # noqa: C419 (a list is faster)
    prompt = request.prompt or ""
    media = request.multimodal_prompt.media_objects if request.multimodal_prompt is not None else ()
    return RequestShape(
        completion_tokens=stored,
        has_answer=any(texts) or reasons_apart,
        has_messages=bool(request.messages) and not prompt,
        has_media=bool(media) and any(not (part.content_type or "text").startswith("text") for part in media),
        one_token=1 in stored and any(_is_text(c.tokens[0].text) for c in completions if len(c.tokens or ()) == 1),
        long_prompt=_is_text(prompt),
        echo=request.echo_prompt,
        success=result is not None and result.success,
        prompt_chars=len(prompt) + (sum([len(part.text or "") for part in media]) if media else 0),
        reasons_apart=reasons_apart,
        reasons_in_text=any(["</think>" in text for text in texts]),  # noqa: C419
        cut_off_tokens=_cut_off_tokens(request, completions) if len(completions) == 1 else None,
    )


def _thoughts(completion: Any) -> str:
    """Return the reasoning text that the client kept apart from the answer."""
    return (completion.thinking.text or "") if completion.thinking is not None else ""


def _cut_off_tokens(request: Any, completions: Sequence[Any]) -> int | None:
    finish_reason = completions[0].finish_reason
    is_cut_off = isinstance(finish_reason, dict) and finish_reason.get("reason") == "length"
    is_limited = request.num_completions == 1 and isinstance(request.max_tokens, int)
    return request.max_tokens if is_cut_off and is_limited else None


def _is_text(token: str | None) -> bool:
    return token is not None and len(token) > _LONGEST_TOKEN and len(token[: 8 * _LONGEST_TOKEN].split(None, 1)) > 1


def with_tokenizer(facts: TokenFacts, state: Any, count: Callable[[str], int | None]) -> TokenFacts:
    """Return the facts with a tokenizer's counts in place of missing or doubtful ones.

    Args:
        facts: Facts that are known so far.
        state: Request state that the facts describe.
        count: Function that counts the tokens of a text with the model's own tokenizer; it returns None without one.
    """
    if facts.prompt_tokens is None or "prompt_as_one_token" in facts.doubts:
        text = _prompt_text(state.request)
        prompt = None if text is None else count(text)
        if prompt is not None:
            doubts = without(facts.doubts, PROMPT_DOUBTS)
            facts = replace(facts, prompt_tokens=prompt, prompt_provenance="tokenizer", doubts=doubts)
    answered = state.result is not None and state.result.success and not state.request.echo_prompt
    if answered and (facts.output_tokens is None or not OUTPUT_DOUBTS.isdisjoint(facts.doubts)):
        facts = _with_counted_output(facts, state.result.completions or (), count)
    return facts


def _with_counted_output(
    facts: TokenFacts, completions: Sequence[Any], count: Callable[[str], int | None]
) -> TokenFacts:
    texts = ["".join(token.text or "" for token in c.tokens or ()) or c.text or "" for c in completions]
    thoughts = [_thoughts(completion) for completion in completions]
    counts = [count(text) for text in (*texts, *thoughts)]
    if not counts or None in counts:
        return facts
    answer, reasoning = counts[: len(texts)], counts[len(texts) :]
    sums = [(a or 0) + (r or 0) for a, r in zip(answer, reasoning, strict=True)]
    return replace(
        facts,
        output_tokens=sum(sums),
        reasoning_tokens=sum(r or 0 for r in reasoning) if any(thoughts) else None,
        output_provenance="tokenizer",
        max_completion_tokens=max(sums),
        doubts=without(facts.doubts, OUTPUT_DOUBTS if any(thoughts) else _COUNTED_AGAIN),
    )


_COUNTED_AGAIN: frozenset[Doubt] = frozenset({"text_as_one_token"})
"""Doubts that a tokenizer settles if it does not see the reasoning."""


def _prompt_text(request: Any) -> str | None:
    """Return the whole text of a prompt; None if the prompt holds more than text."""
    if request.prompt:
        return str(request.prompt)
    if request.multimodal_prompt is not None:
        parts = [{"type": p.content_type or "text", "text": p.text} for p in request.multimodal_prompt.media_objects]
    else:
        contents = [message.get("content") for message in request.messages or ()]
        parts = [p for c in contents for p in (c if isinstance(c, list) else [{"type": "text", "text": c}])]
    texts = [
        part["text"]
        for part in parts
        if isinstance(part, dict) and str(part.get("type")).startswith("text") and isinstance(part.get("text"), str)
    ]
    return "\n".join(texts) if texts and len(texts) == len(parts) else None


def record_of(
    state: Any, *, identity: RunIdentity, perturbation: str, facts: TokenFacts, scores: dict[str, float]
) -> RequestRecord:
    """Build the record of one request state."""
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
        num_completions=request.num_completions,
        batch_size=None if result is None else result.batch_size,
        observed_s=observed_s(result),
        requested_at=None if result is None or result.request_datetime is None else float(result.request_datetime),
        cached=result is not None and result.cached,
        success=result is not None and result.success,
        scores=scores,
        **asdict(facts),
    )


def observed_s(result: Any) -> float | None:
    """Return HELM's `inference_runtime`: seconds of the request, or of its whole batch for offline batched clients."""
    if result is None:
        return None
    seconds = result.request_time
    if result.batch_request_time is not None and result.batch_size is not None:
        seconds = result.batch_request_time
    return None if seconds is None else float(seconds)


def perturbation_key(description: dict[str, Any] | None) -> bytes:
    """Encode a perturbation as bytes that are equal in both of HELM's files, whatever the order of its keys."""
    return msgspec.json.encode(description, order="sorted") if description else b""
