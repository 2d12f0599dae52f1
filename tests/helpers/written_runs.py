"""HELM run folders with a known truth, written as HELM writes them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

AUTUMN_2025 = datetime(2025, 9, 1, tzinfo=UTC).timestamp()


def write_answers(
    folder: Path,
    deployment: str,
    texts: Sequence[str],
    *,
    seconds: float = 5.6,
    finish_reason: str = "stop",
    scenario: str = "qa",
    score: tuple[str, Sequence[float]] = ("exact_match", (0, 1)),
    adapter: Mapping[str, Any] | None = None,
) -> Path:
    """A HELM run whose client stored the tokens of the visible answers, as HELM's chat clients do.

    The scores are repeated in turn; the metric is the only one, and so the main one.
    """
    states, entries = [], []
    for number, text in enumerate(texts):
        tokens = [{"text": word} for word in text.split()]
        completion = {"text": text, "tokens": tokens, "finish_reason": {"reason": finish_reason}}
        prompt = {"model_deployment": deployment, "model": deployment, "prompt": "What is it?", "max_tokens": 512}
        result = {"success": True, "completions": [completion], "cached": False}
        states.append(
            {
                "instance": {"id": f"id{number}", "split": "test"},
                "request": prompt,
                "result": result | {"request_time": seconds, "request_datetime": AUTUMN_2025},
            }
        )
        stats: dict[str, float] = {"num_prompt_tokens": 3, "num_output_tokens": len(tokens)}
        stats |= {score[0]: score[1][number % len(score[1])]}
        named = [{"name": {"name": name, "split": "test"}, "count": 1, "sum": value} for name, value in stats.items()]
        entries.append({"instance_id": f"id{number}", "train_trial_index": 0, "stats": named})
    folder.mkdir(parents=True)
    adapter = {"model": deployment, "model_deployment": deployment, **(adapter or {})}
    spec = {"name": f"{scenario}:model={deployment.replace('/', '_')}", "adapter_spec": adapter}
    (folder / "run_spec.json").write_text(json.dumps(spec))
    (folder / "scenario_state.json").write_text(json.dumps({"adapter_spec": adapter, "request_states": states}))
    (folder / "per_instance_stats.json").write_text(json.dumps(entries))
    (folder / "stats.json").write_text("[]")
    return folder
