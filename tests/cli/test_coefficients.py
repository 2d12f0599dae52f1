"""The commands import, export, fit, predict and show, run as a user runs them."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.run_commands import call

from helm_efficiency import codec
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.store import Store

# 0.1 s up to 16 prompt tokens, 0.2 s at 64; 0.05 s a further token
ROWS = {(1, 1): 0.1, (1, 9): 0.5, (16, 1): 0.1, (16, 9): 0.5, (64, 1): 0.2, (64, 9): 0.6}
CSV = "prompt_tokens,output_tokens,batch_size,seconds\n" + "".join(f"{p},{o},1,{s}\n" for (p, o), s in ROWS.items())
PREDICTED = [
    "prompt_tokens",
    "output_tokens",
    "idealized_s",
    "low_s",
    "high_s",
    "in_domain",
    "tier",
    "stack",
    "num_accelerators",
    "accelerator_s",
    "idealized_usd",
]


def rows_of(*arguments: object, code: int = 0) -> list[dict[str, Any]]:
    done = call(*arguments, "--format", "json")
    assert done.code == code, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def refused(*arguments: object) -> str:
    """The one line on stderr of a wrong use."""
    done = call(*arguments)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("helm-efficiency: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("helm-efficiency: ").rstrip("\n")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A store with one deployment imported from CSV."""
    store, train = tmp_path / "s.sqlite", write(tmp_path / "train.csv", CSV)
    assert call("import", train, "--store", store, "--deployment", "x/y", "--stack", "a100-80gb").code in (0, None)
    return store


@pytest.fixture
def fitted(measured: Path) -> Path:
    assert call("fit", "--store", measured, "--rule", "linear").code in (0, None)
    return measured


def test_import_csv(tmp_path: Path) -> None:
    store, train = tmp_path / "s.sqlite", write(tmp_path / "train.csv", CSV)
    given = ["import", train, "--store", store, "--deployment", "x/y", "--stack", "a100-80gb-mine"]
    assert rows_of(*given) == [
        {
            "deployment": "x/y",
            "stack": "a100-80gb-mine",
            "what": "measurements",
            "num_accelerators": 1,
            "measurements": 6,
            "prompt_lengths": 3,
            "output_lengths": 2,
            "source": "CSV train.csv",
        }
    ]
    (profile,) = Store(store).profiles()
    assert profile.stack == Stack("a100-80gb-mine", "a100-80gb")
    assert profile.measurements == tuple(Measurement(p, o, s) for (p, o), s in ROWS.items())
    assert "1 of them stand in place of earlier ones" in call(*given).stderr
    assert Store(store).profiles() == [profile]


def test_a_stack_may_begin_with_any_accelerator_of_the_catalog(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", CSV)
    for stack, accelerator in (("mi300x-vllm", "mi300x"), ("l4-vllm-fp8", "l4"), ("toaster-x", "toaster-x")):
        store = tmp_path / f"{stack}.sqlite"
        call("import", train, "--store", store, "--deployment", "x/y", "--stack", stack)
        assert Store(store).profiles()[0].stack.accelerator == accelerator


def test_how_many_accelerators_a_csv_was_measured_on(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", CSV)
    given = ["import", train, "--store", tmp_path / "s", "--deployment", "x/y", "--stack", "a100-80gb"]
    call(*given, "--num-accelerators", 8)
    assert Store(tmp_path / "s").profiles()[0].stack == Stack("a100-80gb", "a100-80gb", 8)


def test_parts_of_one_profile_are_put_together(tmp_path: Path) -> None:
    head, *lines = CSV.splitlines(keepends=True)
    parts = [write(tmp_path / f"{n}.csv", head + "".join(lines[n::2])) for n in range(2)]
    rows = rows_of("import", *parts, "--store", tmp_path / "s", "--deployment", "x/y", "--stack", "cpu")
    assert [(row["measurements"], row["source"]) for row in rows] == [(6, "CSV 0.csv; CSV 1.csv")]
    (profile,) = Store(tmp_path / "s").profiles()
    assert set(profile.measurements) == {Measurement(p, o, s) for (p, o), s in ROWS.items()}


def test_import_of_logs_of_a_json_profile_and_of_splitwise(data_dir: Path, tmp_path: Path) -> None:
    logs = data_dir / "megatron_logs"
    mine = Profile("me/mine", Stack("cpu-x", "cpu"), (Measurement(1, 1, 1.0),), versions={"torch": "2"})
    profile = write(tmp_path / "p.json", json.dumps(codec.to_plain(mine)))
    files = [logs / "a100" / "mt_nlg.log", logs / "v100" / "yalm.log", profile, data_dir / "latency"]
    files[-1] /= "splitwise_perf_model.csv"
    rows = rows_of("import", *files, "--store", tmp_path / "s")
    assert len(rows) == 3 + 8
    assert [(row["deployment"], row["num_accelerators"], row["measurements"]) for row in rows[:3]] == [
        ("microsoft/TNLGv2_530B", 24, 270),
        ("together/yalm", 8, 110),
        ("me/mine", 1, 1),
    ]
    assert mine in Store(tmp_path / "s").profiles()


def test_nothing_is_half_imported(tmp_path: Path, measured: Path) -> None:
    before = measured.read_bytes()
    bad = write(tmp_path / "bad.csv", CSV + "64,nine,1,0.6\n")
    message = refused(
        "import", tmp_path / "train.csv", bad, "--store", measured, "--deployment", "a/b", "--stack", "cpu"
    )
    assert message == f"{bad}, line 8: output_tokens is 'nine', expected a whole number."
    assert measured.read_bytes() == before
    new = tmp_path / "new.sqlite"
    refused("import", tmp_path / "train.csv", bad, "--store", new, "--deployment", "a/b", "--stack", "cpu")
    assert not new.exists()


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("none.csv", None, [], "none.csv: No such file or directory."),
        ("m.csv", CSV, [], "m.csv: no column 'deployment'. Name it: --deployment NAME"),
        ("m.csv", CSV, ["--deployment", "x/y"], "m.csv: no column 'stack'. Name it: --stack NAME"),
        ("m.json", "{\n", [], "m.json, line 2: not JSON (Expecting property name enclosed in double quotes)."),
        ("m.json", '{"profiles": [1]}', [], "m.json: profile 0 is int, expected a JSON object."),
        ("m.json", '{"fits": []}', [], "m.json: format_version is None, expected 1."),
        (
            "m.json",
            '{"format_version": 1, "fits": [{}]}',
            [],
            "m.json: fit 0: Not a fit of this package: Object missing required field `deployment`",
        ),
        ("m.json", '{"format_version": 1, "fits": 3}', [], "m.json: fits is int, expected a list."),
        ("m.log", "Runtime for x\n", ["--stack", "cpu"], "m.log, line 1: 'Runtime for x', expected"),
        ("helm-packaged", None, ["--stack", "x"], "helm-packaged has names of its own: leave out --deployment"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, text: str | None, options: list[str], message: str) -> None:
    path = tmp_path / name if text is None else write(tmp_path / name, text)
    given = name if name == "helm-packaged" else path
    said = refused("import", given, "--store", tmp_path / "s.sqlite", *options)
    assert said.removeprefix(f"{tmp_path}/").startswith(message)
    assert not (tmp_path / "s.sqlite").exists()


def test_models_are_never_mixed_under_one_name(data_dir: Path, tmp_path: Path) -> None:
    logs = data_dir / "megatron_logs" / "a100"
    two = [logs / "yalm.log", logs / "bloom.log"]
    assert "but of another model or stack" in refused("import", *two, "--deployment", "x/y", "--store", tmp_path / "s")
    table = data_dir / "latency" / "splitwise_perf_model.csv"
    said = refused("import", table, "--deployment", "x/y", "--store", tmp_path / "s")
    assert "models or stacks that would all be x/y on a100-80gb-splitwise-tp8" in said


def test_import_of_helms_tables(tmp_path: Path) -> None:
    rows = rows_of("import", "helm-packaged", "--store", tmp_path / "s")
    assert len(rows) == len(Store(tmp_path / "s").fits()) == 37
    table = write(
        tmp_path / "t.json", '{"a/b": {"runtime_per_output_token": 1, "runtime_for_prompt_tokens": {"4": 2}}}'
    )
    assert "does not name its stack. Name it: --stack" in refused("import", table, "--store", tmp_path / "s")
    (row,) = rows_of("import", table, "--store", tmp_path / "s", "--stack", "v100-32gb-mine")
    assert (row["deployment"], row["what"], row["source"]) == ("a/b", "coefficients", "t.json")


def test_export_and_import_round_trip(tmp_path: Path, fitted: Path) -> None:
    call("import", "helm-packaged", "--store", fitted)
    everything, again = tmp_path / "all.json", tmp_path / "again.sqlite"
    assert call("export", "--store", fitted, "--output", everything) == (0, "", "")
    call("import", everything, "--store", again)
    assert Store(again).profiles() == Store(fitted).profiles()
    assert Store(again).fits() == Store(fitted).fits()
    assert call("export", "--store", again).stdout == everything.read_text()
    part = write(tmp_path / "part.csv", call("export", "--store", fitted, "--format", "csv").stdout)
    call("import", part, "--store", tmp_path / "csv.sqlite")
    assert Store(tmp_path / "csv.sqlite").profiles()[0].measurements == Store(fitted).profiles()[0].measurements
    only = json.loads(call("export", "--store", fitted, "--deployment", "openai/davinci").stdout)
    assert (only["profiles"], [fit["deployment"] for fit in only["fits"]]) == ([], ["openai/davinci"] * 2)


def test_fit(measured: Path) -> None:
    (row,) = rows_of("fit", "--store", measured, "--rule", "linear")
    assert list(row) == [
        "deployment",
        "stack",
        "rule",
        "knots",
        "max_prompt_tokens",
        "decode_s_per_token",
        "decode_s_per_context_token",
        "relative_error",
    ]
    assert (row["deployment"], row["stack"], row["rule"]) == ("x/y", "a100-80gb", "linear")
    assert row["decode_s_per_token"] == pytest.approx(0.05)
    (fit,) = Store(measured).fits()
    assert fit.profile_sha256 == Store(measured).profiles()[0].sha256()
    assert {"helm-efficiency", "numpy", "scipy"} <= set(fit.versions)
    assert fit.source == "CSV train.csv"
    assert len(fit.fitted_on) == len("2026-01-01")


@pytest.mark.parametrize("rule", ["auto", "linear", "tile", "parametric", "helm", "paper-2022", "paper-2023"])
def test_every_rule_fits(measured: Path, rule: str) -> None:
    (row,) = rows_of("fit", "--store", measured, "--rule", rule)
    assert row["decode_s_per_token"] == pytest.approx(0.05, abs=0.001)
    (predicted,) = rows_of(
        "predict", "--store", measured, "--deployment", "x/y", "--prompt-tokens", 64, "--output-tokens", 9
    )
    assert predicted["idealized_s"] == pytest.approx(0.6, rel=0.02)


def test_fit_goes_on_after_one_that_lacks_measurements(measured: Path) -> None:
    Store(measured).put_profile(Profile("z/few", Stack("cpu", "cpu"), (Measurement(1, 1, 1.0),)))
    (row,) = rows_of("fit", "--store", measured, code=1)
    assert row["deployment"] == "x/y"
    done = call("fit", "--store", measured, "--deployment", "z/few")
    assert done.code == 1
    assert "z/few on cpu: " in done.stderr
    assert "two output lengths" in done.stderr


def test_fit_of_nothing(measured: Path, tmp_path: Path) -> None:
    assert refused("fit", "--store", measured, "--deployment", "q/r", "--stack", "cpu").endswith(
        "s.sqlite has no measurements of q/r on cpu. It has those of: x/y."
    )
    assert refused("fit", "--store", tmp_path / "none").startswith(f"No store at {tmp_path / 'none'}. Make one with")


def test_predict_one_request(fitted: Path) -> None:
    given = ["predict", "--store", fitted, "--deployment", "x/y", "--price-list", "paper-2023"]
    (row,) = rows_of(*given, "--prompt-tokens", 40, "--output-tokens", 3)
    assert list(row) == PREDICTED
    # halfway between 0.1 s at 16 and 0.2 s at 64 prompt tokens, and two further tokens
    assert row["idealized_s"] == pytest.approx(0.25)
    assert row["low_s"] <= row["idealized_s"] <= row["high_s"]
    assert (row["in_domain"], row["tier"], row["stack"], row["num_accelerators"]) == (True, "measured", "a100-80gb", 1)
    assert row["accelerator_s"] == row["idealized_s"]
    assert row["idealized_usd"] == pytest.approx(0.25 / 3600 * 4.096)
    (beyond,) = rows_of(*given, "--prompt-tokens", 4000, "--output-tokens", 3)
    assert beyond["in_domain"] is False


def test_predict_a_file(fitted: Path, tmp_path: Path) -> None:
    asked = write(tmp_path / "ask.csv", "prompt_tokens,output_tokens\n" + "".join(f"{p},{o}\n" for p, o in ROWS))
    done = call("predict", "--store", fitted, "--deployment", "x/y", "--requests", asked, "--format", "csv")
    assert done.stdout.splitlines()[0] == ",".join(PREDICTED)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [(int(row["prompt_tokens"]), int(row["output_tokens"])) for row in rows] == list(ROWS)
    for row, seconds in zip(rows, ROWS.values(), strict=True):
        assert float(row["idealized_s"]) == pytest.approx(seconds)


def test_predict_for_reading_says_all_of_the_stack_and_of_the_price(fitted: Path) -> None:
    request = ["--prompt-tokens", 16, "--output-tokens", 3, "--price-list", "paper-2023"]
    printed = call("predict", "--store", fitted, "--deployment", "x/y", *request).stdout
    assert printed.startswith("x/y on a100-80gb×1 (evidence: measured)\n")
    assert " ".join(printed.split()).endswith(
        "Price: $4.096 an accelerator-hour, 2023-05-03, "
        "Narayanan et al., arXiv 2305.02440: AWS, 8-A100 instance divided by 8"
    )


def test_predict_without_a_price(fitted: Path) -> None:
    Store(fitted).put_fit(
        Fit("c/d", Stack("toaster", "toaster"), RuntimeCoefficients("linear", ((1, 1.0),), 0.5, Domain(1, 1, 1, 9)))
    )
    done = call("predict", "--store", fitted, "--deployment", "c/d", "--prompt-tokens", 1, "--output-tokens", 3)
    assert done.code in (0, None)
    assert "toaster has no price in the list 'on-demand' by that day." in done.stderr
    assert "Price" not in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "prompt_tokens,output_tokens\n1,2\n1,-2\n",
            "line 3: output_tokens is '-2', expected a whole number, 0 or more",
        ),
        ("prompt_tokens,output_tokens\n1.0,2\n", "line 2: prompt_tokens is '1.0', expected a whole number, 0 or more"),
        ("prompt_tokens\n1\n", "line 1: given columns prompt_tokens; expected prompt_tokens,output_tokens"),
        ("prompt_tokens,output_tokens\n", "no rows, expected at least one request"),
    ],
)
def test_predict_of_a_bad_file(fitted: Path, tmp_path: Path, text: str, message: str) -> None:
    asked = write(tmp_path / "ask.csv", text)
    said = refused("predict", "--store", fitted, "--deployment", "x/y", "--requests", asked)
    assert said.startswith(str(asked))
    assert message in said


def test_predict_needs_a_request_and_coefficients(fitted: Path) -> None:
    given = ["predict", "--store", fitted, "--deployment"]
    assert refused(*given, "x/y", "--prompt-tokens", 1).startswith("Name one request with --prompt-tokens and")
    assert "No coefficients for deployment 'q/r'" in refused(*given, "q/r", "--prompt-tokens", 1, "--output-tokens", 1)


def test_show(measured: Path) -> None:
    (row,) = rows_of("show", "--store", measured)
    assert (row["tier"], row["rule"], row["stale"], row["measurements"]) == ("none", None, True, 6)
    call("fit", "--store", measured, "--rule", "helm")
    call("import", "helm-packaged", "--store", measured)
    rows = rows_of("show", "--store", measured)
    assert len(rows) == 38
    (row,) = rows_of("show", "--store", measured, "--deployment", "x/y")
    stored_at, fitted_on = row.pop("stored_at"), row.pop("fitted_on")
    assert stored_at.startswith(fitted_on[:7])
    (profile,) = Store(measured).profiles()
    assert row == {
        "deployment": "x/y",
        "stack": "a100-80gb",
        "num_accelerators": 1,
        "tier": "measured",
        "rule": "helm",
        "relative_error": pytest.approx(0.0, abs=1e-9),
        "measurements": 6,
        "measured_on": None,
        "stale": False,
        "measurements_sha256": profile.sha256(),
        "coefficients_sha256": Store(measured).fit("x/y", "a100-80gb").sha256(),
        "source": "CSV train.csv",
    }
    Store(measured).put_profile(profile.with_more([Measurement(64, 2, 0.25)]))
    assert "1 of them were fitted to other measurements than these" in call("show", "--store", measured).stderr


def test_predict_needs_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("predict", "--deployment", "meta/llama-3.1-8b-instruct", "--prompt-tokens", 512, "--output-tokens", 16)
    assert "Estimated on h100-sxm, as no store has coefficients of it." in call(*given).stderr
    (row,) = rows_of(*given, "--on", "2xa10")
    assert (row["tier"], row["num_accelerators"]) == ("roofline", 2)
