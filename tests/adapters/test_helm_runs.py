"""HELM run folders of every kind: real archives, and folders written here as the versions since 2022 write them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.archives import helm_folders
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from helm_efficiency.adapters.helm.request import perturbation_label, scenario_of
from helm_efficiency.adapters.helm.runs import read_run
from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.adapters.token_counts import apportion
from helm_efficiency.adapters.tokenizers import LocalTokenizers
from helm_efficiency.errors import EfficiencyError, FileFormatError, InputError


def a_state(**changes: Any) -> dict[str, Any]:
    """A request state as HELM writes it; changes by section, `result=None` to leave that out."""
    state: dict[str, Any] = {
        "instance": {"input": {"text": "What?"}, "references": [], "split": "test", "id": "id7"},
        "train_trial_index": 0,
        "request": {"model_deployment": "host/m", "model": "org/m", "prompt": "What is it?", "num_completions": 1},
        "result": {
            "success": True,
            "embedding": [],
            "completions": [{"text": "it is", "logprob": 0, "tokens": [{"text": "it"}, {"text": " is"}]}],
            "cached": False,
            "request_time": 0.25,
            "request_datetime": 1700000000,
        },
        "num_train_instances": 0,
        "prompt_truncated": False,
    }
    for key, change in changes.items():
        state[key] = (
            {**state[key], **change} if isinstance(change, dict) and isinstance(state.get(key), dict) else change
        )
    return {key: value for key, value in state.items() if value is not None}


def an_entry(instance_id: str = "id7", trial: int = 0, **stats: float | tuple[float, int]) -> dict[str, Any]:
    """An entry of per_instance_stats; a stat is a value, or a sum and a count."""
    pairs = {name: value if isinstance(value, tuple) else (value, 1) for name, value in stats.items()}
    return {
        "instance_id": instance_id,
        "train_trial_index": trial,
        "stats": [
            {"name": {"name": name, "split": "test"}, "count": count, "sum": total, "mean": total / count}
            for name, (total, count) in pairs.items()
        ],
    }


PART = {"type": "text", "text": "What is it?"}
COUNTED = {"num_references": 0, "num_prompt_tokens": 3, "num_output_tokens": 2, "exact_match": 1.0, "logprob": -1.0}


def write_run(
    folder: Path,
    states: list[dict[str, Any]],
    entries: list[dict[str, Any]] | None,
    spec: dict[str, Any] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    spec = {"name": "qa:model=org_m", "adapter_spec": {"model": "org/m", "model_deployment": "host/m"}, **(spec or {})}
    (folder / "run_spec.json").write_text(json.dumps(spec))
    (folder / "scenario_state.json").write_text(json.dumps({"adapter_spec": {}, "request_states": states}))
    if entries is not None:
        (folder / "per_instance_stats.json").write_text(json.dumps(entries))
    return folder


def the_record(folder: Path) -> RequestRecord:
    [record] = read_run(folder).records
    return record


def test_a_plain_request_is_this_record(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "v1" / "run", [a_state()], [an_entry(**COUNTED)]))
    assert run.records == (
        RequestRecord(
            harness="helm",
            suite="v1",
            run="qa:model=org_m",
            scenario="qa",
            model="org/m",
            deployment="host/m",
            instance_id="id7",
            split="test",
            prompt_tokens=3,
            output_tokens=2,
            prompt_provenance="harness",
            output_provenance="harness",
            max_completion_tokens=2,
            observed_s=0.25,
            requested_at=1700000000.0,
            scores={"exact_match": 1.0},
        ),
    )
    assert (run.score_name, run.warnings) == ("exact_match", ())


def test_real_archives_add_up_to_helms_own_stats(data_dir: Path) -> None:
    names = {"num_prompt_tokens": 0.0, "num_output_tokens": 0.0, "inference_runtime": 0.0}
    requests = 0
    for file in (data_dir / "helm_runs").rglob("per_instance_stats.json"):
        requests += len(json.loads(file.with_name("scenario_state.json").read_text())["request_states"])
        for entry in json.loads(file.read_text()):
            for stat in entry["stats"]:
                if stat["name"]["name"] in names:
                    names[stat["name"]["name"]] += stat["sum"]
    runs = [read_run(folder) for folder in helm_folders(data_dir / "helm_runs")]
    records = [record for run in runs for record in run.records]
    assert (len(runs), len(records)) == (18, requests)
    assert sum(r.prompt_tokens or 0 for r in records) == names["num_prompt_tokens"]
    # Together's client stored each of 120 answers as one token; all were cut off at 20
    assert sum(r.output_tokens or 0 for r in records) == names["num_output_tokens"] + 120 * 19
    assert sum(r.observed_s or 0 for r in records) == pytest.approx(names["inference_runtime"])
    assert {run.score_name for run in runs} == {"exact_match", "f1_score"}
    assert not [r for r in records if r.doubts]


def test_runs_of_2022_have_no_deployment(tmp_path: Path) -> None:
    state = a_state()
    state["request"] = {"model": "openai/davinci", "prompt": "What is it?"}
    folder = write_run(
        tmp_path / "r", [state], [an_entry(**COUNTED)], {"adapter_spec": {"model": "openai/davinci"}, "novel": 1}
    )
    run = read_run(folder)
    assert (run.deployment, run.records[0].deployment) == ("openai/davinci", "openai/davinci")


def test_without_per_instance_stats_only_stored_tokens_are_known(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "r", [a_state()], None))
    [record] = run.records
    assert (record.prompt_tokens, record.prompt_provenance) == (None, "missing")
    assert (record.output_tokens, record.output_provenance, record.scores) == (2, "harness", {})
    assert run.warnings == ("no per_instance_stats.json: HELM's prompt tokens and the scores are missing",)


def test_without_a_run_spec_the_folder_names_the_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "v1" / "qa:model=org_m", [a_state()], [an_entry(**COUNTED)])
    (folder / "run_spec.json").unlink()
    assert [(r.run, r.scenario, r.model) for r in read_run(folder).records] == [("qa:model=org_m", "qa", "org/m")]


@pytest.mark.parametrize(
    ("completion", "stat", "expected"),
    [
        ({"text": "it is", "tokens": []}, 0, (None, "missing")),  # most chat clients: HELM's 0 is wrong
        ({"text": "", "tokens": [], "thinking": {"text": "hm"}}, 0, (None, "missing")),
        ({"text": "it is", "tokens": []}, 2, (2, "harness")),  # tokens were stripped from the archive afterwards
        ({"text": "", "tokens": []}, 0, (None, "missing")),  # nothing else says that this client stores tokens
        ({"text": "it is"}, 0, (None, "missing")),
    ],
)
def test_output_of_clients_that_store_no_tokens(
    tmp_path: Path, completion: dict[str, Any], stat: int, expected: tuple[int | None, str]
) -> None:
    state = a_state(result={"completions": [completion]})
    folder = write_run(tmp_path / "r", [state], [an_entry(**{**COUNTED, "num_output_tokens": stat})])
    record = the_record(folder)
    assert (record.output_tokens, record.output_provenance) == expected


def test_an_empty_answer_is_0_where_the_client_stores_tokens(tmp_path: Path) -> None:
    empty = a_state(instance={"id": "id8"}, result={"completions": [{"text": "", "tokens": []}]})
    entries = [an_entry(**COUNTED), an_entry("id8", **{**COUNTED, "num_output_tokens": 0})]
    records = read_run(write_run(tmp_path / "r", [a_state(), empty], entries)).records
    assert [(r.output_tokens, r.output_provenance) for r in records] == [(2, "harness"), (0, "harness")]


def test_messages_are_not_the_empty_prompt_that_helm_counted(tmp_path: Path) -> None:
    state = a_state(request={"prompt": "", "messages": [{"role": "user", "content": "What is it?"}]})
    record = the_record(write_run(tmp_path / "r", [state], [an_entry(**{**COUNTED, "num_prompt_tokens": 0})]))
    assert (record.prompt_tokens, record.prompt_provenance) == (None, "missing")


def test_images_are_a_doubt(tmp_path: Path) -> None:
    media = [{"content_type": "text/plain", "text": "What is it?"}, {"content_type": "image/png", "location": "a.png"}]
    state = a_state(request={"prompt": "", "multimodal_prompt": {"media_objects": media}})
    run = read_run(write_run(tmp_path / "r", [state], [an_entry(**COUNTED)]))
    assert [(r.prompt_tokens, r.doubts) for r in run.records] == [(3, ("media_not_counted",))]
    assert run.warnings == ("1 of 1 requests: HELM counted the text of the prompt but not its images, audio or video",)


def test_one_token_for_a_whole_text_is_a_doubt(tmp_path: Path) -> None:
    text = "the answer is that it is"
    state = a_state(
        request={"prompt": "What is it, do you think?"},
        result={"completions": [{"text": text, "tokens": [{"text": text}]}]},
    )
    stats = {**COUNTED, "num_output_tokens": 1, "num_prompt_tokens": 1}
    record = the_record(write_run(tmp_path / "r", [state], [an_entry(**stats)]))
    assert (record.prompt_tokens, record.output_tokens) == (1, 1)
    assert record.doubts == ("prompt_as_one_token", "text_as_one_token")


def test_an_echoed_prompt_is_not_output(tmp_path: Path) -> None:
    tokens = [{"text": t} for t in ("What", " is", " it", " so")]
    state = a_state(
        request={"echo_prompt": True}, result={"completions": [{"text": "What is it so", "tokens": tokens}]}
    )
    folder = write_run(tmp_path / "r", [state], [an_entry(num_prompt_tokens=3)])
    assert the_record(folder).output_tokens == 1


def test_several_completions(tmp_path: Path) -> None:
    completions = [{"text": "x", "tokens": [{"text": "x"}] * n} for n in (2, 5, 3)]
    state = a_state(request={"num_completions": 3}, result={"completions": completions})
    record = the_record(write_run(tmp_path / "r", [state], [an_entry(num_prompt_tokens=3, num_output_tokens=10)]))
    assert (record.num_completions, record.output_tokens, record.max_completion_tokens) == (3, 10, 5)


def test_failed_and_unanswered_requests(tmp_path: Path) -> None:
    failed = a_state(result={"success": False, "error": "blocked", "completions": [{"text": "", "tokens": []}]})
    unanswered = a_state(instance={"id": "id8"}, result=None)
    entries = [an_entry(num_prompt_tokens=3, num_output_tokens=0)]
    records = read_run(write_run(tmp_path / "r", [failed, unanswered], entries)).records
    assert [(r.success, r.prompt_tokens, r.output_tokens) for r in records] == [(False, 3, None), (False, None, None)]
    assert records[1].observed_s is None


def test_batched_clients_report_the_time_of_the_batch(tmp_path: Path) -> None:
    state = a_state(result={"request_time": 0, "batch_size": 8, "batch_request_time": 4.5})
    record = the_record(write_run(tmp_path / "r", [state], [an_entry(**COUNTED)]))
    assert (record.observed_s, record.batch_size) == (4.5, 8)


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> LocalTokenizers:
    """A tokenizer with a token a word, for host/m."""
    folder = tmp_path_factory.mktemp("words")
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    return LocalTokenizers({"host/m": str(folder)})


@pytest.mark.parametrize(
    ("request_changes", "result_changes", "expected"),
    [
        # messages, of which HELM counted none; an answer and the reasoning before it
        (
            {"prompt": "", "messages": [{"role": "system", "content": "be brief"}, {"content": [PART, PART]}]},
            {"completions": [{"text": "it is", "tokens": [], "thinking": {"text": "let me think"}}]},
            (8, 5, 3, 5),
        ),
        # an image in a message cannot be counted
        ({"prompt": "", "messages": [{"content": [PART, {"type": "image_url"}]}]}, {}, (None, 2, None, 2)),
        # several answers
        ({"num_completions": 2}, {"completions": [{"text": "a b c"}, {"text": "a"}]}, (3, 4, None, 3)),
        # a whole answer as one token, and a text that was cut afterwards
        ({}, {"completions": [{"text": "C", "tokens": [{"text": "the answer is surely C"}]}]}, (3, 5, None, 5)),
        # an echoed prompt cannot be told from the answer; a failed request has none
        ({"echo_prompt": True}, {"completions": [{"text": "What is it? It."}]}, (3, None, None, None)),
        ({}, {"success": False, "completions": [{"text": "x"}]}, (3, None, None, None)),
    ],
)
def test_a_tokenizer_counts_what_helm_did_not(
    tmp_path: Path,
    words: LocalTokenizers,
    request_changes: dict[str, Any],
    result_changes: dict[str, Any],
    expected: tuple[int | None, ...],
) -> None:
    state = a_state(request=request_changes, result=result_changes)
    stored = sum(len(c.get("tokens", [])) for c in state["result"]["completions"])
    folder = write_run(tmp_path / "r", [state], [an_entry(num_prompt_tokens=3, num_output_tokens=stored)])
    [record] = read_run(folder, tokenizers=words).records
    tokens = (record.prompt_tokens, record.output_tokens, record.reasoning_tokens, record.max_completion_tokens)
    assert tokens == expected
    assert record.doubts == ()


def test_a_tokenizer_counts_a_prompt_that_helm_has_none_for(tmp_path: Path, words: LocalTokenizers) -> None:
    state = a_state(request={"prompt": "What is it, do you think?"})
    folder = write_run(tmp_path / "r", [state], [an_entry(num_prompt_tokens=1, num_output_tokens=2)])
    [record] = read_run(folder, tokenizers=words).records
    assert (record.prompt_tokens, record.prompt_provenance, record.doubts) == (6, "tokenizer", ())
    media = [{"content_type": "text/plain", "text": "What is it?"}, {"text": "Say."}]
    state = a_state(request={"prompt": "", "multimodal_prompt": {"media_objects": media}})
    folder = write_run(tmp_path / "m", [state], None)
    assert read_run(folder, tokenizers=words).records[0].prompt_tokens == 4


def test_trials_perturbations_and_references_are_joined(tmp_path: Path) -> None:
    typos = {"name": "typos", "robustness": True, "fairness": False, "computed_on": "perturbed", "prob": 0.1}
    reordered = dict(reversed(typos.items()))
    states = [
        a_state(),
        a_state(train_trial_index=1),
        a_state(instance={"perturbation": typos}),
        a_state(instance={"perturbation": {**typos, "seed": 1}}),
    ]
    entries = [
        an_entry(num_prompt_tokens=11),
        an_entry(trial=1, num_prompt_tokens=12),
        {**an_entry(num_prompt_tokens=13), "perturbation": reordered},
        {**an_entry(num_prompt_tokens=14), "perturbation": {**typos, "seed": 1}},
        {**an_entry(exact_match=0.5), "perturbation": typos},  # a second metric
    ]
    records = read_run(write_run(tmp_path / "r", states, entries)).records
    assert [(r.train_trial, r.perturbation, r.prompt_tokens, r.scores) for r in records] == [
        (0, "", 11, {}),
        (1, "", 12, {}),
        (0, "typos", 13, {"exact_match": 0.5}),
        (0, "typos#1", 14, {}),
    ]


def test_separate_choice_totals_are_divided_and_still_add_up(tmp_path: Path) -> None:
    def reference(index: int, mode: str, tokens: int) -> dict[str, Any]:
        stored = [{"text": "x"}] * tokens
        return a_state(
            request={"echo_prompt": True, "max_tokens": 0},
            result={"completions": [{"text": "x", "tokens": stored}]},
            reference_index=index,
            request_mode=mode,
        )

    states = [reference(0, "original", 10), reference(0, "calibration", 4), reference(1, "original", 11)]
    entries = [an_entry(num_prompt_tokens=(25, 3), num_output_tokens=(0, 3), exact_match=1.0)]
    records = read_run(write_run(tmp_path / "r", states, entries)).records
    assert [(r.reference_index, r.request_mode, r.prompt_tokens, r.output_tokens) for r in records] == [
        (0, "original", 10, 0),
        (0, "calibration", 4, 0),
        (1, "original", 11, 0),
    ]


def test_instances_of_one_id_take_their_stats_in_order(tmp_path: Path) -> None:
    states = [a_state(), a_state(request={"prompt": "And what is that?"})]
    entries = [an_entry(num_prompt_tokens=3, f1=0.1), an_entry(num_prompt_tokens=5, f1=0.9)]
    records = read_run(write_run(tmp_path / "r", states, entries)).records
    assert [(r.prompt_tokens, r.scores) for r in records] == [(3, {"f1": 0.1}), (5, {"f1": 0.9})]


def test_metrics_that_begin_alike_score_the_same_request(tmp_path: Path) -> None:
    entries = [an_entry(num_prompt_tokens=3, f1=0.1), an_entry(num_prompt_tokens=3, f1=0.9, rouge=0.5)]
    records = read_run(write_run(tmp_path / "r", [a_state()], entries)).records
    assert [(r.prompt_tokens, r.scores) for r in records] == [(3, {"f1": 0.1, "rouge": 0.5})]


def test_totals_of_other_requests_are_not_divided(tmp_path: Path) -> None:
    entries = [an_entry(num_prompt_tokens=(25, 3), num_output_tokens=(0, 3))]
    record = the_record(write_run(tmp_path / "r", [a_state()], entries))
    assert (record.prompt_tokens, record.output_tokens) == (None, 2)


def test_nan_is_harmless_where_nobody_looks(tmp_path: Path) -> None:
    text = 'a "NaN" in text'
    tokens = [{"text": "it", "logprob": float("nan")}, {"text": "is", "logprob": float("-inf")}]
    state = a_state(result={"completions": [{"text": text, "logprob": float("nan"), "tokens": tokens}]})
    entries = [an_entry(**{**COUNTED, "f1_score": float("nan"), "rouge_l": float("inf")})]
    record = the_record(write_run(tmp_path / "r", [state], entries))
    assert (record.output_tokens, record.scores) == (2, {"exact_match": 1.0})


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("scenario_state.json", '{"request_states": [{"instance": {', "Input data was truncated"),
        ("scenario_state.json", "", "Input data was truncated"),
        ("scenario_state.json", "[]", "Expected `object`, got `array`"),
        ("scenario_state.json", '{"adapter_spec": {}}', "missing required field `request_states`"),
        ("run_spec.json", '{"name": 3}', "Expected `str`, got `int` - at `$.name`"),
        ("per_instance_stats.json", '[{"instance_id": "a", "stats": 3}]', "Expected `array`, got `int`"),
        ("per_instance_stats.json", '[{"unknown": ' + "[" * 100_000, "recursion"),
        ("per_instance_stats.json", b"\xff\xfe[]", "JSON is malformed"),
    ],
)
def test_a_bad_file_is_named_with_the_reason(tmp_path: Path, file: str, content: str | bytes, reason: str) -> None:
    folder = write_run(tmp_path / "r", [a_state()], [an_entry(**COUNTED)])
    (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(FileFormatError) as raised:
        read_run(folder)
    assert str(folder / file) in str(raised.value)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"request_time": float("nan")}, "request_time"),
        ({"request_time": -1.0}, "request_time"),
        ({"request_time": "1.5"}, "request_time"),
        ({"request_datetime": 10**40}, "request_datetime"),
        ({"batch_size": -1}, "batch_size"),
        ({"completions": [{"text": 3}]}, "completions"),
        ({"success": 1}, "success"),
    ],
)
def test_a_bad_value_is_named_with_its_place(tmp_path: Path, change: dict[str, Any], place: str) -> None:
    folder = write_run(tmp_path / "r", [a_state(result=change)], [an_entry(**COUNTED)])
    with pytest.raises(FileFormatError, match=rf"scenario_state\.json.*request_states\[0\]\.result\.{place}"):
        read_run(folder)


@pytest.mark.parametrize("value", [float("nan"), -1.0, 2.5, 1e300])
def test_a_token_count_that_is_none_is_refused(tmp_path: Path, value: float) -> None:
    folder = write_run(tmp_path / "r", [a_state()], [an_entry(num_prompt_tokens=value)])
    with pytest.raises(FileFormatError, match=r"per_instance_stats\.json: num_prompt_tokens is .*, expected a count"):
        read_run(folder)


def test_a_folder_without_requests_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", [], [])
    assert read_run(folder).records == ()
    (folder / "scenario_state.json").unlink()
    assert read_run(folder).records == ()
    (folder / "per_instance_stats.json").unlink()
    with pytest.raises(InputError, match=r"scenario_state\.json: not there"):
        read_run(folder)
    (folder / "scenario_state.json").mkdir()
    with pytest.raises(InputError, match=r"scenario_state\.json: Is a directory"):
        read_run(folder)


def test_finding_follows_links_but_enters_no_folder_twice(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "v1" / "b..c", [], None)
    write_run(tmp_path / "runs" / "v1" / "a", [], None)
    write_run(tmp_path / "elsewhere" / "linked", [], None)
    (tmp_path / "runs" / "v1" / "incomplete").mkdir()
    (tmp_path / "runs" / "v1" / "incomplete" / "run_spec.json").write_text("{}")
    (tmp_path / "runs" / "loop").symlink_to(tmp_path / "runs")
    (tmp_path / "runs" / "itself").symlink_to("itself")
    (tmp_path / "runs" / "other").symlink_to(tmp_path / "elsewhere")
    found = [str(path.relative_to(tmp_path)) for path in helm_folders(tmp_path / "runs" / ".." / "runs")]
    assert [name.removeprefix("runs/../") for name in found] == [
        "runs/other/linked",
        "runs/v1/a",
        "runs/v1/b..c",
        "runs/v1/incomplete",
    ]
    assert helm_folders(tmp_path / "runs" / "v1" / "a") == [tmp_path / "runs" / "v1" / "a"]
    with pytest.raises(InputError, match="is not a folder"):
        helm_folders(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(20):  # deeper than a path may be long
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    [deep] = helm_folders(tmp_path)
    with pytest.raises(InputError, match="File name too long"):
        read_run(deep)


def test_files_may_come_from_elsewhere() -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for name, content in {
        "scenario_state.json": {"request_states": [a_state()]},
        "run_spec.json": {"name": "x"},
    }.items():
        memory.pipe(f"/archive/v1/run/{name}", json.dumps(content).encode())
    run = read_run("memory://archive/v1/run", open_file=memory.open)
    assert (run.suite, run.name, len(run.records)) == ("v1", "x", 1)


def test_scenario_is_the_name_without_who_was_asked() -> None:
    names = {
        "mmlu:subject=a,model=together_ul2,data_augmentation=canonical,stop=hash,global_prefix=nlg": (
            "mmlu:subject=a,data_augmentation=canonical"
        ),
        "qa:topics=a,b,model=x_y,model_deployment=z_y,efficiency=a100": "qa:topics=a,b",
        "narrative_qa:model=x_y": "narrative_qa",
        "plain": "plain",
    }
    assert {name: scenario_of(name) for name in names} == names


def test_perturbation_label() -> None:
    assert [perturbation_label(d) for d in (None, {}, {"name": "typos"}, {"name": "typos", "seed": 0})] == [
        "",
        "",
        "typos",
        "typos#0",
    ]


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_apportioned_parts_add_up_and_keep_to_their_share(total: int, weights: list[int]) -> None:
    parts = apportion(total, weights)
    shares = weights if any(weights) else [1] * len(weights)
    assert sum(parts) == total
    assert all(abs(part - total * share / sum(shares)) <= 1 for part, share in zip(parts, shares, strict=True))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_mutated_files_are_read_or_refused_never_worse(tmp_path: Path, data: st.DataObject) -> None:
    folder = write_run(tmp_path / "r", [a_state(), a_state(train_trial_index=1)], [an_entry(**COUNTED)])
    file = folder / data.draw(st.sampled_from(["run_spec.json", "scenario_state.json", "per_instance_stats.json"]))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    file.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        records = read_run(folder).records
    except EfficiencyError as error:
        assert file.name in str(error)
    else:
        assert all(r.prompt_tokens is None or r.prompt_tokens >= 0 for r in records)
