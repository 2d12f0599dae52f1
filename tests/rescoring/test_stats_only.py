"""Runs of which only HELM's stats of each instance are left."""

import json
from pathlib import Path

import pandas as pd
import pytest
from helpers.archives import plan_for
from helpers.odd_places import copy_to_change
from helpers.written_runs import write_answers

from helm_efficiency.adapters.helm.runs import HelmRun, read_run
from helm_efficiency.adapters.sources import find_sources
from helm_efficiency.errors import InputError
from helm_efficiency.rescoring.rescore import rescore

KEPT = ("instance_id", "split", "perturbation", "train_trial", "prompt_tokens", "output_tokens", "prompt_provenance")


def facts_of(run: HelmRun) -> list[tuple[object, ...]]:
    """What stats tell of each request, in the order of instances."""
    return sorted(
        (*(getattr(record, name) for name in KEPT), record.observed_s, tuple(sorted(record.scores.items())))
        for record in run.records
    )


def test_real_runs_are_read_without_their_requests(data_dir: Path, tmp_path: Path) -> None:
    folders = [
        folder
        for suite in ("small", "mmlu_llama3")
        for folder in (data_dir / "helm_runs" / suite / "runs" / "v1").iterdir()
        if "together" not in folder.name  # whose counts only the requests put right
    ]
    assert len(folders) == 12
    for folder in folders:
        whole = read_run(folder)
        (copy := tmp_path / folder.name).mkdir()
        for name in ("run_spec.json", "per_instance_stats.json"):
            copy_to_change(folder / name, copy / name)
        left = read_run(copy)
        assert facts_of(left) == facts_of(whole)
        assert (left.score_name, left.model, left.deployment) == (whole.score_name, whole.model, whole.deployment)
        assert left.warnings == (
            "no scenario_state.json: tokens, times and scores are HELM's sums; dates, texts and failures are unknown",
        )


def test_such_runs_are_scored(runs: Path, tmp_path: Path) -> None:
    sources = find_sources([str(runs)], besides=tmp_path)
    rescore(plan_for(tmp_path / "whole"), sources)
    for file in runs.rglob("scenario_state.json"):
        file.unlink()
    assert {outcome.status for outcome in rescore(plan_for(tmp_path / "left"), sources)} == {"scored"}
    columns = ["num_requests", "num_scored", "prompt_tokens", "output_tokens", "score_name"]
    whole, left = (pd.read_parquet(tmp_path / name / "runs.parquet")[columns] for name in ("whole", "left"))
    pd.testing.assert_frame_equal(whole, left)
    for file in runs.rglob("stats.json"):
        copy = tmp_path / "left" / "runs" / file.relative_to(runs / "runs")
        before, after = (
            {json.dumps(stat["name"], sort_keys=True) for stat in json.loads(each.read_bytes())}
            for each in (file, copy)
        )
        assert before <= after


def test_references_share_what_helm_added_up(tmp_path: Path) -> None:
    folder = write_answers(tmp_path / "run", "host/m", ["B"])
    (folder / "scenario_state.json").unlink()
    stats = {
        "num_prompt_tokens": (31, 3),
        "num_output_tokens": (4, 3),
        "inference_runtime": (0.6, 3),
        "exact_match": (1, 1),
    }
    named = [
        {"name": {"name": name, "split": "test"}, "count": count, "sum": total}
        for name, (total, count) in stats.items()
    ]
    entries = [{"instance_id": "id7", "train_trial_index": 0, "stats": named}]
    (folder / "per_instance_stats.json").write_text(json.dumps(entries))
    records = read_run(folder).records
    assert [(r.reference_index, r.prompt_tokens, r.output_tokens) for r in records] == [
        (0, 11, 2),
        (1, 10, 1),
        (2, 10, 1),
    ]
    assert [r.observed_s for r in records] == pytest.approx([0.2] * 3)


def test_clients_that_store_no_tokens_have_no_counts(tmp_path: Path) -> None:
    folder = write_answers(tmp_path / "run", "openai/gpt-4o-2024-11-20", ["", ""])
    (folder / "scenario_state.json").unlink()
    assert [(r.output_tokens, r.output_provenance) for r in read_run(folder).records] == [(None, "missing")] * 2


def test_nothing_left_is_one_line(tmp_path: Path) -> None:
    folder = write_answers(tmp_path / "run", "host/m", ["B"])
    (folder / "scenario_state.json").unlink()
    (folder / "per_instance_stats.json").unlink()
    with pytest.raises(InputError, match=r"not there, nor is per_instance_stats.json: there are no"):
        read_run(folder)
