"""lm-evaluation-harness results: the real one, and samples of other task types and versions."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from helm_efficiency.adapters.lm_eval import read_lm_eval
from helm_efficiency.adapters.tokenizers import LocalTokenizers
from helm_efficiency.errors import FileFormatError, InputError


def write_results(folder: Path, samples: list[dict[str, Any]] | None, **config: Any) -> Path:
    output_type = config.pop("output_type", "generate_until")
    results = {
        "results": {"t": {"acc,none": 1.0}, "a_group": {"acc,none": 1.0}},
        "configs": {"t": {"task": "t", "output_type": output_type}},
        "config": {"model": "hf", "model_args": "pretrained=org/m,dtype=float16", **config},
    }
    file = folder / "results_2025-01-01.json"
    file.write_text(json.dumps(results))
    if samples is not None:
        lines = "\n".join(json.dumps(sample) for sample in samples)
        (folder / "samples_t_2025-01-01.jsonl").write_text(lines + "\n\n")
    return file


def generated(document: int, prompt: str, *answers: str, **more: Any) -> dict[str, Any]:
    arguments = {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["\n"]}}}
    return {"doc_id": document, "doc": {}, "target": "4", "arguments": arguments, "resps": [list(answers)]} | more


@pytest.fixture
def tokenizers(tiny_model: Path) -> LocalTokenizers:
    return LocalTokenizers({"org/m": str(tiny_model)})


def test_the_real_results(data_dir: Path) -> None:
    [file] = (data_dir / "other_harnesses" / "lm_eval").glob("results_*.json")
    with_samples, without = read_lm_eval(file)
    assert (len(with_samples.records), len(without.records)) == (10, 0)
    assert with_samples.model == "RylanSchaeffer/mem_Qwen3-93M_minerva_math_rep_0_sbst_1.0000_epch_1_ot_1"
    assert (with_samples.scenario, with_samples.score_name) == ("math_perturbed_full", "exact_match")
    assert {(r.prompt_tokens, r.output_tokens, r.observed_s) for r in with_samples.records} == {(None, None, None)}
    assert {(r.prompt_provenance, r.output_provenance) for r in with_samples.records} == {("missing", "missing")}
    assert with_samples.warnings == ("lm-evaluation-harness records no times and no tokens",)
    assert "evaluate with --log_samples" in without.warnings[1]


def test_tokens_are_counted_by_the_models_tokenizer(
    tmp_path: Path, tokenizers: LocalTokenizers, tiny_model: Path
) -> None:
    count = len(AutoTokenizer.from_pretrained(tiny_model).encode("Is 24 even?"))
    answers = ["Even", " Odd Odd Odd"]
    longest = [len(AutoTokenizer.from_pretrained(tiny_model).encode(answer)) for answer in answers]
    file = write_results(tmp_path, [generated(3, "Is 24 even?", *answers, exact_match=1.0, metrics=["exact_match"])])
    [run] = read_lm_eval(file, tokenizers=tokenizers)
    [record] = run.records
    assert (record.prompt_tokens, record.prompt_provenance) == (count, "tokenizer")
    assert (record.output_tokens, record.max_completion_tokens) == (sum(longest), max(longest))
    assert (record.output_provenance, record.num_completions) == ("tokenizer", 2)
    assert (record.instance_id, record.reference_index, record.scores) == ("3", None, {"exact_match": 1.0})


def test_log_likelihoods_are_one_request_a_choice_and_generate_nothing(
    tmp_path: Path, tokenizers: LocalTokenizers, tiny_model: Path
) -> None:
    sample = {
        "doc_id": 0,
        "arguments": {f"gen_args_{i}": {"arg_0": "Is 24 even?", "arg_1": c} for i, c in enumerate([" Even", " Odd"])},
        "resps": [[["-1.0", "False"]], [["-2.0", "False"]]],
        "acc": 1.0,
        "acc_norm": 0.0,
    }
    [run] = read_lm_eval(write_results(tmp_path, [sample], output_type="multiple_choice"), tokenizers=tokenizers)
    encode = AutoTokenizer.from_pretrained(tiny_model).encode
    assert [(r.reference_index, r.prompt_tokens, r.output_tokens, r.output_provenance) for r in run.records] == [
        (0, len(encode("Is 24 even? Even")), 0, "harness"),
        (1, len(encode("Is 24 even? Odd")), 0, "harness"),
    ]
    assert run.records[0].scores == {"acc": 1.0, "acc_norm": 0.0}


@pytest.mark.parametrize("kind", ["greedy_until", "generate_until"])
def test_both_names_of_generating_count_tokens(tmp_path: Path, tokenizers: LocalTokenizers, kind: str) -> None:
    [run] = read_lm_eval(write_results(tmp_path, [generated(0, "q", "a b")], output_type=kind), tokenizers=tokenizers)
    assert run.records[0].output_tokens and run.records[0].output_provenance == "tokenizer"


@pytest.mark.parametrize("kind", ["generate_untill", "embeddings", ""])
def test_tokens_of_an_unknown_type_are_missing(tmp_path: Path, tokenizers: LocalTokenizers, kind: str) -> None:
    [run] = read_lm_eval(write_results(tmp_path, [generated(0, "q", "a b")], output_type=kind), tokenizers=tokenizers)
    [record] = run.records
    assert (record.prompt_tokens, record.output_tokens) == (None, None)
    assert (record.prompt_provenance, record.output_provenance) == ("missing", "missing")
    assert run.warnings[1] == f"output type {kind!r} is not known: whether tokens were generated is not, either"


def test_a_sample_under_several_filters_is_one_request(tmp_path: Path) -> None:
    samples = [
        generated(0, "q", "a", filter="strict-match", exact_match=0.0),
        generated(1, "q", "a", filter="strict-match", exact_match=1.0),
        generated(0, "q", "a", filter="flexible-extract", exact_match=1.0),
    ]
    [run] = read_lm_eval(write_results(tmp_path, samples))
    assert [(r.instance_id, r.scores) for r in run.records] == [
        ("0", {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0}),
        ("1", {"exact_match,strict-match": 1.0}),
    ]


def test_older_samples_have_lists_of_arguments(tmp_path: Path, tokenizers: LocalTokenizers) -> None:
    old = generated(0, "", "a") | {"arguments": [["Is 24 even?", {"until": []}]]}
    odd = generated(1, "", "a") | {"arguments": [[], [3]]}
    [run] = read_lm_eval(write_results(tmp_path, [old, odd]), tokenizers=tokenizers)
    assert [r.prompt_tokens is None for r in run.records] == [False, True, True]


@pytest.mark.parametrize(
    ("config", "model"),
    [
        ({"model_args": {"model": "gpt-4o", "base_url": "x"}}, "gpt-4o"),
        ({"model_args": ""}, "hf"),
        ({"model_args": None, "model": None}, "unknown"),
    ],
)
def test_name_of_the_model(tmp_path: Path, config: dict[str, Any], model: str) -> None:
    assert read_lm_eval(write_results(tmp_path, None, **config))[0].model == model


def test_bad_files_are_named_with_the_line(tmp_path: Path) -> None:
    file = write_results(tmp_path, [generated(0, "q", "a")])
    samples = tmp_path / "samples_t_2025-01-01.jsonl"
    samples.write_text(samples.read_text() + '{"doc_id": 1.5}')
    with pytest.raises(FileFormatError, match=r"samples_t_2025-01-01\.jsonl, line 3: Expected `int | str`"):
        read_lm_eval(file)
    with pytest.raises(InputError, match="No such file"):
        read_lm_eval(tmp_path / "results_x.json")
