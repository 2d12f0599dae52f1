"""leaderboard, plot, report, paper and schema from the command line."""

import csv
import io
import json
import subprocess
import sys

import matplotlib.pyplot as plt
import pytest
import yaml
from helpers.scored_tables import request, write
from typer.testing import CliRunner

from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import InputError
from helm_efficiency.store import Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rows = [
        request(
            model,
            scenario,
            index,
            float(index < num_correct),
            stack=stack,
            idealized_s=seconds * factor,
            denoised_s=0.5,
        )
        for model, num_correct, seconds in (("org/large", 9, 2.0), ("org/small", 6, 0.1))
        for scenario in ("boolq", "imdb")
        for stack, factor in (("a100", 1.0), ("h100", 0.5))
        for index in range(10)
    ]
    return write(tmp_path_factory.mktemp("scored") / "out", rows)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def fails(*arguments):
    """What the command line says of a mistake."""
    with pytest.raises(InputError) as caught:
        run(*arguments)
    return str(caught.value)


def test_a_mistake_is_one_line_and_exit_2(tmp_path):
    command = [sys.executable, "-m", "helm_efficiency.cli", "leaderboard", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"helm-efficiency: {tmp_path}: expected runs.parquet and requests/*.parquet. "
        f"Write them with: helm-efficiency rescore PATH --output {tmp_path}\n"
    )


def test_leaderboard_as_json_and_csv(folder):
    done = run("leaderboard", folder, "--format", "json")
    rows = json.loads(done.stdout)
    assert done.exit_code == 0
    assert len(rows) == 2 * 2 * 3  # models, stacks, both scenarios and all
    first = rows[0]
    assert (first["deployment"], first["scenario"], first["stack"], first["score"]) == (
        "org/large", "all scenarios", "a100", 0.9,
    )  # fmt: skip
    assert first["idealized_s"] == 2.0
    assert first["idealized_s_front"] is True
    table = list(csv.DictReader(io.StringIO(run("leaderboard", folder, "--format", "csv").stdout)))
    assert [row["deployment"] for row in table] == [row["deployment"] for row in rows]


def test_leaderboard_for_reading(folder):
    done = run("leaderboard", folder, "--stack", "h100", "--sort", "idealized_s", "--plot")
    lines = done.stdout.splitlines()
    assert lines[0] == "all scenarios, idealized on a100-80gb×1 megatron fp16"
    assert [line.split()[2] for line in lines[5:7]] == ["org/small", "org/large"]
    assert "Ranks are by idealized runtime" in done.stdout
    assert any("small ●" in line or "● small" in line for line in lines)
    markdown = run("leaderboard", folder, "--each", "--format", "markdown").stdout
    assert markdown.count("| Rank | Deployment | Score |") == 2 * 3
    assert run("leaderboard", folder, "--scenario", "imdb", "--format", "latex").stdout.count(r"\begin{table}") == 2


def test_leaderboard_of_nothing(tmp_path):
    done = run("leaderboard", write(tmp_path / "empty", []), "--format", "json")
    assert (done.exit_code, done.stdout) == (1, "[]\n")
    assert "holds no scored request" in done.stderr


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ([], "png"),
        (["--each", "--x", "observed_s"], "svg"),
        (["--scenario", "imdb", "--stack", "h100"], "pdf"),
        (["--kind", "providers"], "png"),
        (["--kind", "stacks", "--stack", "h100", "--stack", "a100"], "png"),
        (["--kind", "contention", "--title", "Noise", "--no-caption"], "png"),
        (["--models", "LARGE,tiny", "--linear-x", "--width", "4"], "png"),
    ],
)
def test_plot(folder, tmp_path, options, kind):
    path = tmp_path / "new" / f"figure.{kind}"
    done = run("plot", folder, "--output", path, *options)
    assert (done.exit_code, done.stdout) == (0, "")
    assert path.read_bytes()[:5] == {"png": b"\x89PNG\r", "svg": b"<?xml", "pdf": b"%PDF-"}[kind]
    assert plt.get_fignums() == [], "a figure that was written is kept no longer"


def test_plot_of_a_fit(tmp_path):
    profile = Profile(
        "org/m", Stack("a100", "a100-80gb"), tuple(Measurement(p, o, 0.1 + 0.01 * o) for p in (1, 64) for o in (1, 8))
    )
    store = Store(tmp_path / "store.sqlite")
    store.put_profile(profile)
    store.put_fit(fit_profile(profile))
    done = run(
        "plot", tmp_path / "store.sqlite", "--kind", "fit", "--deployment", "org/m", "--output", tmp_path / "fit.png"
    )
    assert done.exit_code == 0
    assert (tmp_path / "fit.png").stat().st_size > 1000


def test_report(folder, tmp_path):
    done = run("report", folder, "--output", tmp_path / "r.html", "--title", "Mine & yours")
    assert done.exit_code == 0
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<h1>Mine &amp; yours</h1>" in text
    assert "2 models, 2 scenarios, idealized on a100, h100." in text
    assert run("report", "--paper", "--output", tmp_path / "p.html").exit_code == 0
    assert "EleutherAI/GPT-J" in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_paper_prints_its_leaderboard():
    done = run("paper", "--stack", "a100", "--format", "csv")
    assert done.exit_code == 0
    assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == 10 * 5
    assert "Cohere/XL was never profiled" in done.stderr


def test_schema(tmp_path):
    printed = yaml.safe_load(run("schema", "lite", "--stack", "h100").stdout)
    assert "inference_idealized_runtime@h100" in [metric["name"] for metric in printed["metrics"]]
    done = run("schema", "classic", "--detailed", "--output", tmp_path / "s.yaml")
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"helm-summarize --schema-path {tmp_path / 's.yaml'}" in done.stderr
    assert yaml.safe_load((tmp_path / "s.yaml").read_text())["metrics"]


def test_mistakes(folder, tmp_path):
    assert "No scenario begins with 'x'. There are: boolq, imdb." in fails("leaderboard", folder, "--scenario", "x")
    assert "expected a name that ends in .png, .svg, .pdf" in fails("plot", folder, "--output", tmp_path / "x.gif")
    assert "--kind fit needs --deployment" in fails("plot", folder, "--kind", "fit", "--output", tmp_path / "x.png")
    png = ["--output", tmp_path / "x.png"]
    assert "No model has 'qwen' in its name. There are: " in fails("plot", folder, "--models", "qwen", *png)
    assert "--kind stacks has its own scales" in fails("plot", folder, "--kind", "stacks", "--log-x", *png)
    assert "or --paper, and not both" in fails("report", "--output", tmp_path / "x.html")


def test_models_without_a_common_scenario_get_a_table_each(tmp_path):
    rows = [request("org/a", "s", n, 1.0) for n in range(3)] + [request("org/b", "t", n, 0.0) for n in range(3)]
    done = run("leaderboard", write(tmp_path / "apart", rows))
    titles = [line.partition(",")[0] for line in done.stdout.splitlines() if ", idealized on" in line]
    assert titles == ["s", "t"]
    assert "1 (1)  org/a" in done.stdout
    assert "1 (1)  org/b" in done.stdout
