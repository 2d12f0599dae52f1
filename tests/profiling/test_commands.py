"""The commands profile and doctor, as a user calls them."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helm_efficiency.cli import app, main
from helm_efficiency.profiling.doctor import examine
from helm_efficiency.profiling.endpoint.server import is_cpu_only
from helm_efficiency.store import Store

SHORT = ["--prompt-tokens", "4,16", "--output-tokens", "1,3", "--repetitions", "2", "--device", "cpu"]


def test_a_profile_is_in_the_store_and_is_not_taken_twice(tiny_llama: Path, tmp_path: Path) -> None:
    store = tmp_path / "new" / "s.sqlite"
    arguments = ["profile", str(tiny_llama), "--deployment", "me/tiny", "--store", str(store), *SHORT]
    result = CliRunner().invoke(app, [*arguments, "--format", "csv"])
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["prompt_tokens"], row["output_tokens"]) for row in rows] == [
        ("4", "1"),
        ("16", "1"),
        ("4", "3"),
        ("16", "3"),
    ]
    assert all(float(row["ttft_s"]) <= float(row["seconds"]) and row["energy_j"] == "" for row in rows)
    (profile,) = Store(store, create=False).profiles(deployment="me/tiny")
    assert profile.stack.name == "cpu-transformers-eager-fp32" and len(profile.cells()) == 4
    told = result.stderr.splitlines()
    assert "me/tiny on cpu-transformers-eager-fp32 (cpu×1 transformers-eager" in told[-2]
    assert ": 4 new of 4 cells in " in told[-2] and "; expected error of predictions " in told[-2]
    assert told[-1] == f"Measurements are in {store}. Next: helm-efficiency fit --store {store}"

    again = CliRunner().invoke(app, [*arguments, "--format", "json"])
    assert again.exit_code == 0 and ": 0 new of 4 cells in " in again.stderr
    assert [row["seconds"] for row in json.loads(again.stdout)] == [float(row["seconds"]) for row in rows]
    assert Store(store).profiles() == [profile]
    table = CliRunner().invoke(app, arguments)
    assert "Prompt" in table.stdout and "Note" not in table.stdout and "Energy" not in table.stdout


def test_a_spent_budget_is_exit_code_1_and_says_how_to_go_on(tiny_llama: Path, tmp_path: Path) -> None:
    arguments = ["profile", str(tiny_llama), "--store", str(tmp_path / "s.sqlite"), *SHORT, "--budget-seconds", "0"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "0 new of 0 cells in " in result.stderr and "; not all cells are timed, call again to go on" in result.stderr


def test_random_weights_of_a_config(tiny_llama: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.sqlite"
    arguments = ["profile", str(tiny_llama / "config.json"), "--random-weights", "--store", str(store), *SHORT]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (profile,) = Store(store).profiles(deployment=f"huggingface/{tiny_llama.name}")
    assert profile.architecture is not None and profile.architecture.num_layers == 2
    assert "random weights" in profile.source


def test_an_endpoint_is_profiled_with_batches(served: tuple[Path, str], tmp_path: Path) -> None:
    store = tmp_path / "s.sqlite"
    arguments = ["profile", str(served[0]), "--base-url", served[1], "--deployment", "me/served", "--store", str(store)]
    arguments += ["--prompt-tokens", "8,32", "--output-tokens", "1,4", "--repetitions", "2", "--concurrency", "1,2"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (profile,) = Store(store).profiles(deployment="me/served")
    assert profile.stack.name == f"{'cpu-' * is_cpu_only()}transformers-serve-fp32", "as the server and its model say"
    assert set(profile.cells()) == {(p, o, batch) for p in (8, 32) for o in (1, 4) for batch in (1, 2)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing to profile: name a model, or a file with --campaign."),
        (["MODEL", "--prompt-tokens", "a,b"], "'a,b': expected counts such as 1,256,1024."),
        (["MODEL", "--engine", "vllm"], "Engine 'vllm': expected one of transformers-eager, transformers-compiled."),
        (["MODEL", "--repetitions", "0"], "1 warm-ups and 0 to 0 repetitions: expected 0 or more warm-ups"),
        (["/nowhere"], "Cannot load /nowhere as a causal LM: "),
        (["no-such-architecture", "--random-weights"], "No architecture for 'no-such-architecture'"),
        (["--campaign", "/nowhere.yaml"], "/nowhere.yaml: cannot be read (No such file or directory)."),
        (["m", "--base-url", "nowhere"], "Base URL 'nowhere': expected such as http://localhost:8000/v1."),
        (
            ["m", "--base-url", "http://127.0.0.1:9/v1", "--extra-body", "[]"],
            "--extra-body '[]': expected a JSON object.",
        ),
        (["m", "--base-url", "http://127.0.0.1:9/v1", "--concurrency", "0"], "Concurrency is 0, expected 1 or more."),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    tiny_llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(tiny_llama) if argument == "MODEL" else argument for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["helm-efficiency", "profile", *given, "--store", str(tmp_path / "s.sqlite")])
    with pytest.raises(SystemExit) as exited:
        main()
    told = capsys.readouterr()
    assert (exited.value.code, told.out) == (2, "")
    assert told.err.startswith(f"helm-efficiency: {message}") and told.err.count("\n") == 1


def test_a_foreign_store_is_refused_before_anything_is_measured(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "thesis.sqlite"
    foreign.write_text("my thesis")
    monkeypatch.setattr(sys, "argv", ["helm-efficiency", "profile", str(tiny_llama), "--store", str(foreign)])
    with pytest.raises(SystemExit) as exited:
        main()
    assert exited.value.code == 2 and "thesis.sqlite is not a helm-efficiency store" in capsys.readouterr().err
    assert foreign.read_text() == "my thesis" and list(tmp_path.iterdir()) == [foreign]


def test_doctor_looks_at_everything_and_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--store", str(tmp_path / "none.sqlite"), "--format", "json"])
    findings = {row["what"]: row for row in json.loads(result.stdout)}
    assert list(findings) == [
        *("python", "torch", "torchvision", "transformers", "model classes", "CUDA", "C++ compiler", "energy", "httpx"),
        *("crfm-helm", "browser", "HELM plugin", "HELM VLLMClient", "store"),
    ]
    assert {row["status"] for row in findings.values()} <= {"ok", "missing", "broken"}
    assert all(row["remedy"] for row in findings.values() if row["status"] != "ok")
    assert "completions_client.CompletionsClient with base_url" in findings["HELM VLLMClient"]["remedy"], (
        "of crfm-helm 0.5.16"
    )
    assert findings["model classes"]["detail"] == "LlamaForCausalLM"
    assert findings["store"]["status"] == "missing" and "none at" in findings["store"]["detail"]
    assert result.exit_code == (1 if any(row["status"] == "broken" for row in findings.values()) else 0)


def test_doctor_explains_the_torchvision_trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    finding = next(finding for finding in examine() if finding.what == "torchvision")
    assert (finding.status, finding.detail) == ("broken", "RuntimeError: operator torchvision::nms does not exist")
    assert finding.remedy.startswith("pip uninstall torchvision (it comes with crfm-helm as a CUDA build")


def test_doctor_reports_a_broken_store(tmp_path: Path) -> None:
    foreign = tmp_path / "s.sqlite"
    foreign.write_text("not a store")
    result = CliRunner().invoke(app, ["doctor", "--store", str(foreign), "--format", "json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)[-1]["status"] == "broken"
