"""Re-scoring of real runs: what is written, what is matched, what is left alone, what is said of what failed."""

import gc
import json
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from helpers.archives import coefficients_of, contents, plan_for, some_coefficients
from typer.testing import CliRunner

from helm_efficiency.adapters.sources import find_sources
from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.errors import InputError
from helm_efficiency.helm_stats.stats import is_efficiency_stat
from helm_efficiency.metrics.efficiency import Coefficients
from helm_efficiency.metrics.pricing import Pricing
from helm_efficiency.metrics.table import REQUEST_COLUMNS, RUN_COLUMNS
from helm_efficiency.report.tables import load
from helm_efficiency.rescoring.plan import StatsTarget, make_plan
from helm_efficiency.rescoring.rescore import rescore
from helm_efficiency.rescoring.run import Outcome
from helm_efficiency.store import Store


def rescored(archive: Path, output: Path, **options: object) -> list[Outcome]:
    return rescore(plan_for(output, **options), find_sources([str(archive)], besides=output))


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def requests_of(output: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(part) for part in sorted((output / "requests").glob("*.parquet"))])


def test_every_request_of_every_run_has_a_row(data_dir: Path, tmp_path: Path) -> None:
    helm_runs = data_dir / "helm_runs"
    outcomes = rescored(helm_runs, tmp_path / "out")
    assert statuses(outcomes) == ["scored"] * 18
    requests = requests_of(tmp_path / "out")
    assert list(requests.columns) == list(REQUEST_COLUMNS)
    states = [json.loads(file.read_bytes()) for file in helm_runs.rglob("scenario_state.json")]
    assert len(requests) == sum(len(state["request_states"]) for state in states) == 325
    totals = {"num_prompt_tokens": 0.0, "num_output_tokens": 0.0, "inference_runtime": 0.0}
    for file in helm_runs.rglob("per_instance_stats.json"):
        for stat in (stat for entry in json.loads(file.read_bytes()) for stat in entry["stats"]):
            if stat["name"]["name"] in totals:
                totals[stat["name"]["name"]] += stat["sum"]
    assert requests.prompt_tokens.sum() == totals["num_prompt_tokens"]
    # Together's client stored each of 120 answers as one token; all were cut off at 20
    assert requests.output_tokens.sum() == totals["num_output_tokens"] + 120 * 19
    assert requests.observed_s.sum() == pytest.approx(totals["inference_runtime"])


def test_numbers_of_one_request(data_dir: Path, tmp_path: Path) -> None:
    rescored(data_dir / "helm_runs", tmp_path / "out")
    requests = requests_of(tmp_path / "out")
    [row] = requests[(requests.deployment == "groq/llama3-70b-8192") & (requests.instance_id == "id97")].to_dict(
        "records"
    )
    assert (row["prompt_tokens"], row["output_tokens"]) == (412, 1)
    # 0.0001 s and 411 further prompt tokens at 0.0999 s / 999 each; nothing to decode; 8 A100s
    assert row["idealized_s"] == pytest.approx(0.0412)
    factor = 0.1 + (1 + 0.1**2) ** 0.5  # what is 10 % wide on either side, in ratio
    assert (row["idealized_low_s"], row["idealized_high_s"]) == pytest.approx((0.0412 / factor, 0.0412 * factor))
    assert row["denoised_s"] == pytest.approx(0.0412)
    assert row["accelerator_s"] == pytest.approx(8 * 0.0412)
    assert row["idealized_usd"] == pytest.approx(8 * 0.0412 * row["usd_per_accelerator_hour"] / 3600)
    assert (row["stack"], row["tier"], row["matched_by"], row["in_domain"]) == ("a100", "measured", "name", True)
    assert row["stack_detail"] == "a100-80gb×8 megatron fp16"
    coefficients = load(tmp_path / "out").coefficients[row["coefficients"]]
    assert coefficients.predict(412, 1).seconds == row["idealized_s"]


def test_runs_table(data_dir: Path, tmp_path: Path) -> None:
    rescored(data_dir / "helm_runs", tmp_path / "out")
    runs = pd.read_parquet(tmp_path / "out" / "runs.parquet")
    assert list(runs.columns) == list(RUN_COLUMNS)
    assert runs.num_requests.sum() == 325
    requests = requests_of(tmp_path / "out")
    for row in runs.to_dict("records"):
        its = requests[requests.run == row["run"]]
        assert row["num_scored"] == its.idealized_s.notna().sum()
        assert row["score_name"] in dict(its.scores.iloc[0])
    unmatched = runs[runs["stack"].isna()]
    assert set(unmatched.tier) == {"none"}
    assert unmatched.reason.str.startswith("no coefficients for ").all()


def test_stats_replace_helms_and_leave_the_rest(runs: Path, tmp_path: Path) -> None:
    before = contents(runs)
    rescored(runs, tmp_path / "out")
    assert contents(runs) == before
    for folder in (runs / "runs" / "v1").iterdir():
        copy = tmp_path / "out" / "runs" / "v1" / folder.name
        assert {file.name for file in copy.iterdir()} == {file.name for file in folder.iterdir()}
        for name in ("run_spec.json", "scenario.json", "scenario_state.json"):
            assert (copy / name).read_bytes() == (folder / name).read_bytes()
        theirs, ours = (json.loads((place / "stats.json").read_bytes()) for place in (folder, copy))
        names = [json.dumps(stat["name"], sort_keys=True) for stat in ours]
        assert len(set(names)) == len(names)
        first = next(i for i, stat in enumerate(ours) if stat["name"]["name"] == "num_prompt_tokens")
        assert all(is_efficiency_stat(stat["name"]["name"]) for stat in ours[first:])
        replaced = [stat["name"] for stat in ours[first:]]
        assert ours[:first] == [stat for stat in theirs if stat["name"] not in replaced]
        theirs, ours = (json.loads((place / "per_instance_stats.json").read_bytes()) for place in (folder, copy))
        assert ours[: len(theirs)] == [
            entry | {"stats": [stat for stat in entry["stats"] if stat["name"] not in replaced]} for entry in theirs
        ]
        added = [stat["name"]["name"] for entry in ours[len(theirs) :] for stat in entry["stats"]]
        assert all(map(is_efficiency_stat, added))


def test_in_place_twice_is_as_once(runs: Path, tmp_path: Path) -> None:
    rescored(runs, tmp_path / "out", target=StatsTarget.in_place)
    once = contents(runs)
    assert not (tmp_path / "out" / "runs").exists()
    assert statuses(rescored(runs, tmp_path / "out", target=StatsTarget.in_place)) == ["unchanged"] * 3
    rescored(runs, tmp_path / "out", target=StatsTarget.in_place, force=True)
    assert contents(runs) == once


def test_another_day_with_the_same_prices_changes_nothing(runs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    days = [date(2026, 9, 1), date(2026, 9, 2)]
    found = [statuses(rescored(runs, output, pricing=Pricing.as_of(day))) for day in days]
    assert found == [["scored"] * 3, ["unchanged"] * 3]


def test_only_what_changed_is_scored_again(runs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert statuses(rescored(runs, output)) == ["scored"] * 3
    written = contents(output)
    assert statuses(rescored(runs, output)) == ["unchanged"] * 3
    assert contents(output) == written
    assert statuses(rescored(runs, output, force=True)) == ["scored"] * 3
    gpt2 = [folder.name for folder in sorted((runs / "runs" / "v1").iterdir()) if "gpt2" in folder.name]
    # a file of one run
    state = runs / "runs" / "v1" / gpt2[0] / "scenario_state.json"
    state.write_bytes(state.read_bytes() + b"\n")
    assert statuses(rescored(runs, output)) == ["unchanged", "scored", "unchanged"]
    # a copy of another
    (output / "runs" / "v1" / gpt2[1] / "stats.json").unlink()
    assert statuses(rescored(runs, output)) == ["unchanged", "unchanged", "scored"]
    assert contents(output).keys() == written.keys()
    # the store entry that two of them use
    fits = [
        Fit("openai/gpt2", fit.stack, coefficients_of(0.5)) for fit in some_coefficients().idealized["a100"].values()
    ]
    plan = make_plan(Coefficients.from_fits(fits), stacks=["a100"], output=output)
    assert statuses(rescore(plan, find_sources([str(runs)], besides=output))) == ["unchanged", "scored", "scored"]
    # an option
    assert statuses(rescored(runs, output, target=StatsTarget.none)) == ["scored"] * 3


def test_several_stacks_side_by_side(data_dir: Path, tmp_path: Path) -> None:
    suite = data_dir / "helm_runs" / "mmlu_llama3"
    rescored(suite, tmp_path / "out", stacks=["a100", "v100"])
    requests = requests_of(tmp_path / "out")
    assert len(requests) == 2 * 300
    groq = requests[requests.deployment == "groq/llama3-70b-8192"]
    assert groq.groupby("stack").size().to_dict() == {"a100": 60, "v100": 60}
    [file] = (tmp_path / "out" / "runs" / "v1").glob("*philosophy*groq_llama3-70b*/stats.json")
    originals = [stat for stat in json.loads(file.read_bytes()) if "perturbation" not in stat["name"]]
    means = {(stat["name"]["name"], stat["name"]["split"]): stat.get("mean") for stat in originals}
    of_run = groq[groq.run.str.contains("philosophy")].groupby(["stack", "split"]).idealized_s.mean()
    for (stack, split), mean in of_run.items():
        assert means[f"inference_idealized_runtime@{stack}", split] == pytest.approx(mean)
    assert means["inference_idealized_runtime", "valid"] == means["inference_idealized_runtime@a100", "valid"]


def test_results_do_not_depend_on_jobs(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helm_efficiency.rescoring.rescore._WORTH_PROCESSES_BYTES", 0)
    sources = find_sources([str(runs)], besides=tmp_path)
    for jobs in (1, 2):
        rescore(plan_for(tmp_path / str(jobs)), sources, jobs=jobs)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_bad_runs_are_reported_and_the_others_scored(runs: Path, tmp_path: Path) -> None:
    suite = runs / "runs" / "v1"
    first, second, third = sorted(suite.iterdir())
    (first / "scenario_state.json").write_bytes((first / "scenario_state.json").read_bytes()[:-100])
    (second / "per_instance_stats.json").write_text('{"not": "a list"}')
    outcomes = rescored(runs, tmp_path / "out")
    assert statuses(outcomes) == ["failed", "failed", "scored"]
    assert outcomes[0].error.startswith(f"{first}/scenario_state.json: Input data was truncated")
    assert outcomes[1].error.startswith(f"{second}/per_instance_stats.json: Expected `array`")
    assert {row.run for row in pq.read_table(tmp_path / "out" / "runs.parquet").to_pandas().itertuples()} == {
        json.loads((third / "run_spec.json").read_bytes())["name"]
    }


def test_runs_of_the_same_suite_and_name_clash(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, runs.parent / "again")
    outcomes = rescore(plan_for(tmp_path / "out"), find_sources([str(runs.parent)], besides=tmp_path))
    assert (
        statuses(outcomes) == ["failed"] * 3 + ["scored"] * 3 or statuses(outcomes) == ["scored"] * 3 + ["failed"] * 3
    )
    [error, *_] = [outcome.error for outcome in outcomes if outcome.error]
    assert "a run of the same suite and name is at" in error


def test_other_harnesses_get_tables(data_dir: Path, tmp_path: Path) -> None:
    outcomes = rescored(data_dir / "other_harnesses", tmp_path / "out")
    assert statuses(outcomes) == ["scored"] * 5
    assert requests_of(tmp_path / "out").groupby("harness").size().to_dict() == {"inspect": 10, "lm-eval": 10}
    assert not (tmp_path / "out" / "runs").exists()


def test_remote_folders_give_the_same_tables(runs: Path, tmp_path: Path) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem().put(str(runs), "/rescored-archive", recursive=True)
    for name, place in (("local", str(runs)), ("file", f"file://{runs}"), ("memory", "memory://rescored-archive")):
        output = tmp_path / name
        outcomes = rescore(plan_for(output), find_sources([place], besides=output), jobs=2)
        assert statuses(outcomes) == ["scored"] * 3
        assert contents(output) == contents(tmp_path / "local")
        assert statuses(rescore(plan_for(output), find_sources([place], besides=output))) == ["unchanged"] * 3
    in_place = plan_for(tmp_path / "memory", target=StatsTarget.in_place)
    [outcome, *_] = rescore(in_place, find_sources(["memory://rescored-archive"], besides=tmp_path))
    assert "is remote and cannot be changed in place" in outcome.error


def test_unknown_stack_and_places(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No coefficients on stack 'h100'. Known stacks: a100, v100."):
        plan_for(tmp_path, stacks=["h100"])
    with pytest.raises(InputError, match="nothing there"):
        find_sources(["memory://nowhere"], besides=tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        find_sources([str(tmp_path / "nowhere")], besides=tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "efficiency.sqlite"
    for fits in some_coefficients().idealized.values():
        for fit in fits.values():
            Store(path).put_fit(fit)
    return path


def test_command(runs: Path, store: Path, tmp_path: Path) -> None:
    command = ["rescore", str(runs), "--store", str(store), "--output", str(tmp_path / "out"), "--stack", "a100"]
    result = CliRunner().invoke(app, [*command, "--format", "json"])
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert [summary[f"num_{what}"] for what in ("runs", "scored", "unchanged", "failed", "requests")] == [
        3,
        3,
        0,
        0,
        25,
    ]
    assert summary["missing"] == [
        {"reason": "no coefficients for huggingface/pythia-1b-v0 on a100", "num_requests": 10}
    ]
    assert {match["matched_by"] for match in summary["matches"]} == {"model", None}
    strict = CliRunner().invoke(app, [*command, "--strict", "--explain"])
    assert strict.exit_code == 1
    assert "No idealized runtime for 10 requests: no coefficients for huggingface/pythia-1b-v0 on a100" in strict.stderr
    assert "Coefficients" in strict.stdout


def test_command_says_what_is_wrong(store: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "helm_efficiency.cli", "rescore"]
    (tmp_path / "empty").mkdir()
    more = ["--store", str(store), "--output", str(tmp_path / "out")]
    result = subprocess.run([*program, str(tmp_path / "empty"), *more], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(f"helm-efficiency: No runs under {tmp_path}/empty; expected those of HELM")


@pytest.mark.parametrize("is_collecting", [True, False])
def test_garbage_collector_is_left_as_it_was(runs: Path, tmp_path: Path, is_collecting: bool) -> None:
    before = gc.isenabled()
    (gc.enable if is_collecting else gc.disable)()
    try:
        rescored(runs, tmp_path / "out")
        assert gc.isenabled() is is_collecting
    finally:
        (gc.enable if before else gc.disable)()


def test_another_archive_does_not_replace_the_first(runs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    again = shutil.copytree(runs, tmp_path / "again")
    assert statuses(rescored(runs, output)) == ["scored"] * 3
    written = contents(output)
    outcomes = rescored(again, output, force=True)
    assert statuses(outcomes) == ["failed"] * 3
    assert f"a run of the same suite and name, {runs}/" in outcomes[0].error
    assert contents(output) == written
    shutil.rmtree(runs)  # an archive that was moved is the same one
    assert statuses(rescored(again, output)) == ["unchanged"] * 3
