"""The main job on real parts, scaled down: fewer training steps, cells and instances."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from helm_efficiency.helm_plugin.commands import HelmCommandError
from helm_efficiency.quickstart import pipeline
from helm_efficiency.store import Store

SCALE = pipeline.Scale(
    step_fraction=0.02, num_examples=60, prompt_lengths=(16, 128), output_lengths=(1, 8), num_instances=10
)
STACK = "cpu-transformers-eager-fp32"


class Steps:
    """Notes the steps that were begun."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    @contextmanager
    def __call__(self, title: str, total: int | None) -> Iterator[Callable[[], None]]:
        self.titles.append(title)
        yield lambda: None


def run(places: pipeline.Places) -> tuple[list[str], str]:
    """All steps as the command takes them; their titles and the leaderboard."""
    steps = Steps()
    models = pipeline.make_models(places, SCALE, steps)
    pipeline.profile_models(places, SCALE, models, steps)
    pipeline.run_helm(places, SCALE, models, steps)
    pipeline.denoise_and_rescore(places, steps)
    pipeline.summarize(places, steps)
    return steps.titles, pipeline.report(places, steps)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[pipeline.Places, list[str], str]]:
    """All steps, with one half of the run entries: the task of two kinds of brackets."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    root = tmp_path_factory.mktemp("quickstart")
    places = pipeline.Places(root / "out", root / "plots", root / "store.sqlite")
    lines = pipeline.run_entries_file().read_text().splitlines(keepends=True)
    conf = root / "two_brackets.conf"
    conf.write_text("".join(line for line in lines if "num_parenthesis_pairs=3" not in line))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "run_entries_file", lambda: conf)
        yield places, *run(places)


def test_steps_and_leaderboard(done: tuple[pipeline.Places, list[str], str]) -> None:
    places, titles, leaderboard = done
    assert titles == [
        "Train three models",
        "Profile them on this machine",
        "Run HELM",
        "Denoise and score every request",
        "Make HELM's tables",
        "Rank and plot",
    ]
    for size in ("small", "medium", "large"):
        assert f"quickstart-{size}" in leaderboard
    files = sorted(path.name for path in places.plots.iterdir())
    assert files == ["quickstart-tradeoff.pdf", "quickstart-tradeoff.png", "quickstart.csv", "quickstart.md"]


def test_store_holds_raw_repetitions_and_fits(done: tuple[pipeline.Places, list[str], str]) -> None:
    store = Store(done[0].store, create=False)
    profiles = store.profiles(stack=STACK)
    assert [p.deployment for p in profiles] == [f"huggingface/quickstart-{s}" for s in ("large", "medium", "small")]
    for profile in profiles:
        assert all(len(repetitions) >= 3 for repetitions in profile.cells().values())
        assert len(profile.cells()) == 4
    assert len(store.fits(stack=STACK)) == 3


def test_every_request_has_its_numbers(done: tuple[pipeline.Places, list[str], str]) -> None:
    requests = pd.concat(map(pd.read_parquet, (done[0].scored / "requests").glob("*.parquet")))
    assert len(requests) == 3 * 10
    always = ["prompt_tokens", "output_tokens", "prompt_provenance", "output_provenance", "observed_s", "idealized_s"]
    always += ["idealized_low_s", "idealized_high_s", "num_accelerators", "accelerator_s", "idealized_usd"]
    assert requests[always].notna().all().all()
    assert set(requests["stack"]) == {STACK}
    assert set(requests["tier"]) == {"measured"}
    assert (requests["idealized_low_s"] <= requests["idealized_s"]).all()


def test_stats_stand_once_in_helms_own_files(done: tuple[pipeline.Places, list[str], str]) -> None:
    runs = list(done[0].suite.glob("dyck*/stats.json"))
    assert len(runs) == 3
    for file in runs:
        names = [json.dumps(stat["name"], sort_keys=True) for stat in json.loads(file.read_text())]
        ours = [name for name in names if "inference_" in name or "num_output_tokens" in name]
        assert len(ours) == len(set(ours))
        assert any(f'"inference_idealized_runtime@{STACK}"' in name for name in ours)


def test_helms_tables_show_the_columns(done: tuple[pipeline.Places, list[str], str]) -> None:
    [table, *_] = json.loads((done[0].suite / "groups" / "dyck_language.json").read_text())
    headings = [cell["value"] for cell in table["header"]]
    assert {"Idealized inference time (s)", "$/1k alone"} <= set(headings)
    column = headings.index("Idealized inference time (s)")
    assert all(row[column]["value"] > 0 for row in table["rows"])


def test_second_call_goes_on_from_what_is_there(done: tuple[pipeline.Places, list[str], str]) -> None:
    places, _, _ = done
    [damaged, whole, *_] = sorted(places.suite.glob("dyck*/per_instance_stats.json"))
    damaged.write_bytes(damaged.read_bytes()[:1000])  # as HELM leaves it when it is interrupted while it writes
    kept = (whole.parent / "scenario_state.json").stat().st_mtime_ns
    steps = Steps()
    models = pipeline.make_models(places, SCALE, steps)
    pipeline.profile_models(places, SCALE, models, steps)
    pipeline.run_helm(places, SCALE, models, steps)
    assert steps.titles == ["Run HELM"]
    assert (whole.parent / "scenario_state.json").stat().st_mtime_ns == kept
    assert json.loads(damaged.read_text())


def test_a_file_that_helm_cannot_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "bad.conf"
    conf.write_text('entries: [ {description: "no_such_scenario:model=simple/model1", priority: 1} ]')
    monkeypatch.setattr(pipeline, "run_entries_file", lambda: conf)
    places = pipeline.Places(tmp_path / "out", tmp_path / "plots", tmp_path / "store.sqlite")
    with pytest.raises(HelmCommandError, match=r"Unknown run spec name: no_such_scenario.*helm-run.log"):
        pipeline.run_helm(places, SCALE, [], Steps())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--output", "file/below"], "Cannot make folder file/below: Not a directory."),
        (["--store", "file"], "file is not a helm-efficiency store"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: list[str], expected: str) -> None:
    (tmp_path / "file").write_text("not a folder, not a store")
    command = [sys.executable, "-m", "helm_efficiency.cli", "quickstart", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(pipeline.__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "file").read_text() == "not a folder, not a store"
