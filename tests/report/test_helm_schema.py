"""Efficiency columns in HELM's own leaderboards: every schema it ships, its summaries, its server in a real browser."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import yaml
from helm.benchmark.presentation.schema import read_schema as helm_read_schema
from helm.benchmark.presentation.summarize import main as helm_summarize_here
from typer.testing import CliRunner

from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.helm_stats.schema import add_efficiency, read_schema, shipped_schemas, to_yaml
from helm_efficiency.helm_stats.stats import STATS
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.tables import load
from helm_efficiency.store import Store

SHOWN = [
    "inference_denoised_runtime",
    "inference_idealized_runtime",
    "idealized_cost_usd_per_1k_requests",
    "api_cost_usd_per_1k_requests",
    "inference_idealized_runtime@h100",
]


def names(entries):
    return [entry["name"] for entry in entries]


def group(schema, name):
    return next(entry for entry in schema["metric_groups"] if entry["name"] == name)


@pytest.mark.parametrize("name", shipped_schemas())
def test_every_shipped_schema_shows_efficiency(name, tmp_path):
    original = read_schema(name)
    schema = add_efficiency(original, stacks=["h100"], detailed=True)
    assert set(SHOWN) <= set(names(group(schema, "efficiency")["metrics"]))
    assert {*SHOWN, "num_accelerators", "idealized_energy_joules"} <= set(
        names(group(schema, "efficiency_detailed")["metrics"])
    )
    for run_group in schema["run_groups"]:
        assert bool(run_group.get("metric_groups")) == ("efficiency" in (run_group.get("metric_groups") or []))
    added = names(schema["metrics"])[len(original["metrics"]) :]
    assert len(set(added)) == len(added)
    assert not set(added) & set(names(original["metrics"]))
    assert add_efficiency(schema, stacks=["h100"], detailed=True) == schema
    # what it said before, it still says
    assert original["metrics"] == schema["metrics"][: len(original["metrics"])]
    for metric_group in original["metric_groups"]:
        kept = group(schema, metric_group["name"])
        assert metric_group["metrics"] == kept["metrics"][: len(metric_group["metrics"])]
    path = tmp_path / "schema.yaml"
    path.write_text(to_yaml(schema), encoding="utf-8")
    parsed = helm_read_schema(str(path))
    assert parsed.name_to_metric["idealized_cost_usd"].lower_is_better


def test_a_schema_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("run_groups:\n- {name: mine, metric_groups: [accuracy]}\n- {name: all, subgroups: [mine]}\n")
    schema = add_efficiency(read_schema(str(path)))
    assert schema["run_groups"] == [
        {"name": "mine", "metric_groups": ["accuracy", "efficiency"], "environment": {"main_split": "test"}},
        {"name": "all", "subgroups": ["mine"]},
    ]
    assert names(schema["metric_groups"]) == ["efficiency", "efficiency_detailed"]


def test_what_is_no_schema(tmp_path):
    with pytest.raises(
        InputError, match=r"No schema 'light': neither a file nor one that crfm-helm ships: air_bench, "
    ):
        read_schema("light")
    path = tmp_path / "x.yaml"
    path.write_text("a: [")
    with pytest.raises(FileFormatError, match=r"x.yaml: not YAML"):
        read_schema(str(path))
    path.write_text(yaml.safe_dump({"metrics": []}))
    with pytest.raises(FileFormatError, match="it has no list of run_groups"):
        read_schema(str(path))


# ---- real runs, HELM's own commands ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(data_dir, tmp_path_factory):
    """Real runs of Llama 3, re-scored on a made-up stack, with HELM's summary of them."""
    folder = tmp_path_factory.mktemp("helm")
    shutil.copytree(data_dir / "helm_runs" / "mmlu_llama3" / "runs", folder / "runs")
    store = Store(folder / "store.sqlite")
    for deployment in ("groq/llama3-8b-8192", "groq/llama3-70b-8192"):
        slow = 6 if "70b" in deployment else 1
        cells = [(p, o, slow * (0.02 + 2e-5 * p + 0.012 * (o - 1))) for p in (1, 512, 2048) for o in (1, 16, 64)]
        stack = Stack("made-up", "a100-80gb", dtype="fp16")
        store.put_fit(fit_profile(Profile(deployment, stack, tuple(Measurement(*cell) for cell in cells))))
    out = folder / "scored"
    arguments = ["rescore", folder / "runs" / "v1", "--store", folder / "store.sqlite", "--output", out, "--jobs", 1]
    done = CliRunner().invoke(app, [*map(str, arguments), "--format", "json"], catch_exceptions=False)
    assert json.loads(done.stdout)["num_scored"] == 15
    done = CliRunner().invoke(
        app, ["serve", str(out), "--stack", "made-up", "--summarize-only"], catch_exceptions=False
    )
    assert "HELM does not know groq/llama3-70b-8192" in done.stderr  # nor huggingface/…, which it would ask the hub for
    return out


def mmlu_table(scored):
    table = json.loads((scored / "runs" / "v1" / "groups" / "mmlu.json").read_text())[0]
    header = [cell["value"] for cell in table["header"]]
    return {
        row[0]["value"]: dict(zip(header, (cell.get("value") for cell in row), strict=True)) for row in table["rows"]
    }


def test_helm_and_this_package_show_the_same_numbers(scored):
    theirs = mmlu_table(scored)
    ours = build(load(scored)).part().set_index("deployment")
    assert set(theirs) == set(ours.index)
    for deployment, row in theirs.items():
        assert ours.loc[deployment, "score"] == pytest.approx(row["EM"])
        assert ours.loc[deployment, "observed_s"] == pytest.approx(row["Observed inference time (s)"])
    groq = theirs["groq/llama3-70b-8192"]
    assert groq["Idealized inference time (s)"] == pytest.approx(ours.loc["groq/llama3-70b-8192", "idealized_s"])
    assert groq["made-up (s)"] == groq["Idealized inference time (s)"]
    cost = ours.loc["groq/llama3-70b-8192", "idealized_usd"]
    assert groq["$/1k alone"] == pytest.approx(1000 * cost)
    assert theirs["together/Llama-3-8b-chat-hf"]["Denoised inference time (s)"] is None


def test_helm_makes_a_schema_of_its_own_for_rescored_runs(scored, tmp_path, monkeypatch):
    for run in sorted((scored / "runs" / "v1").glob("mmlu*groq*"))[:2]:
        shutil.copytree(run, tmp_path / "runs" / "v1" / run.name)
    options = ["--output-path", str(tmp_path), "--suite", "v1", "--auto-generate-schema", "--num-threads", "1"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["helm-summarize", *options])
    helm_summarize_here()
    suite = tmp_path / "runs" / "v1"
    assert len([json.loads(file.read_bytes()) for file in suite.glob("*/display_predictions.json")]) == 2
    runs = json.loads((suite / "runs.json").read_bytes())
    assert any(stat["name"]["name"] == "inference_idealized_runtime" for run in runs for stat in run["stats"])


SERVE = """
import sys
from pathlib import Path
from helm_efficiency.helm_plugin.commands import helm_server
folder = Path(sys.argv[1])
helm_server(folder, "v1", port=int(sys.argv[2]), log=folder / "server.log", on_ready=lambda url: print(url, flush=True))
"""


@pytest.mark.browser
def test_helm_server_shows_the_columns(scored, browser):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVE, str(scored), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout.readline() == f"http://localhost:{port}/\n"
            browser.get(f"http://localhost:{port}/#/groups/mmlu")
            text = _text_with(browser, "groq/llama3-70b-8192")
        finally:
            server.send_signal(signal.SIGINT)
    for what in ("Idealized inference time (s)", "made-up (s)", "$/1k alone", "$/1k by API"):
        assert what in text
    idealized = mmlu_table(scored)["groq/llama3-70b-8192"]["Idealized inference time (s)"]
    assert f"\n{round(idealized, 3)}\n" in text  # HELM rounds to three decimals


def test_what_cannot_be_served_is_refused_in_one_line(scored, tmp_path):
    def refusal(*arguments):
        done = CliRunner().invoke(app, ["serve", *map(str, arguments)])
        return str(done.exception)

    assert refusal(tmp_path).startswith(f"{tmp_path}: no HELM suite in it. Score HELM runs: ")
    assert refusal(scored, "--suite", "v2") == "No suite 'v2': v1."
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert refusal(scored, "--port", port) == f"--port {port}: another program listens there. Name another port."


def test_headings_differ_before_helm_cuts_them():
    shown = [info.short_display_name or info.display_name for info in STATS.values() if info.group == "efficiency"]
    assert len({name[:7] for name in shown}) == len(shown)  # what is left of 27 after "MMLU All Subjects - "


def _text_with(browser, what):
    for _ in range(300):
        text = browser.find_element("tag name", "body").text
        if what in text:
            return text
        time.sleep(0.1)
    pytest.fail(f"the page never showed {what!r}")
