"""Many models on one machine: the most informative cells of each first, over any number of calls."""

import contextlib
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
from helpers.odd_places import reserved_port
from helpers.run_commands import in_child

from helm_efficiency import codec
from helm_efficiency.core.measurement import Profile
from helm_efficiency.errors import FileFormatError
from helm_efficiency.formats.measurement_files import profiles_from_json
from helm_efficiency.profiling.__main__ import main
from helm_efficiency.profiling.campaign import read_campaign, run_campaign
from helm_efficiency.profiling.cells import CellResult
from helm_efficiency.profiling.checkpoint import CellFiles
from helm_efficiency.profiling.jobs import prepare_job
from helm_efficiency.profiling.session import Limits

SIZES = "{num_layers: 2, hidden_size: 32, num_heads: 2, num_kv_heads: 1, head_size: 16, ffn_size: 64, vocab_size: 99}"


@pytest.fixture
def campaign_file(tmp_path: Path, tiny_llama: Path) -> Path:
    """Two models that can be profiled and one that cannot."""
    path = tmp_path / "campaign.yaml"
    path.write_text(
        f"""
        device: cpu
        repetitions: 1
        target_error: 10
        cells_per_round: [2]
        cells: [[1, 1], [16, 2], [16, 1, 3]]
        models:
          - {{name: me/stored, path: {tiny_llama}}}
          - nobody-knows-this
          - {{name: made-up, sizes: {SIZES}, cells: [[4, 2], [5, 2], [6, 2]]}}
        """
    )
    return path


def test_each_round_goes_through_all_models(campaign_file: Path, tmp_path: Path) -> None:
    order: list[tuple[str, str]] = []

    def on_model(job, _round):  # type: ignore[no-untyped-def]
        return lambda result: order.append((job.deployment, str(result.cell)))

    files = CellFiles(tmp_path / "cells")
    progress = run_campaign(read_campaign(campaign_file), files, on_model=on_model)
    assert order == [
        ("me/stored", "p=1 o=1"),
        ("me/stored", "p=16 o=2"),
        ("made-up", "p=4 o=2"),
        ("made-up", "p=5 o=2"),
        ("me/stored", "p=16 o=1 batch=3"),
        ("made-up", "p=6 o=2"),
    ]
    assert list(progress.profiles) == [(name, "cpu-transformers-eager-fp32") for name in ("me/stored", "made-up")]
    assert [len(profile.measurements) for profile in progress.profiles.values()] == [6, 6]
    made_up = progress.profiles["made-up", "cpu-transformers-eager-fp32"]
    assert made_up.architecture is not None and made_up.architecture.vocab_size == 99
    assert "random weights" in made_up.source
    assert list(progress.failures) == ["nobody-knows-this"] and not progress.complete
    order.clear()
    again = run_campaign(read_campaign(campaign_file), files, on_model=on_model)
    assert order == [] and again.profiles == progress.profiles, "nothing is measured twice"
    fresh = run_campaign(read_campaign(campaign_file), files, fresh=True, limits=Limits.of_budget(0.0))
    assert all(not profile.measurements for profile in fresh.profiles.values())


def test_a_bare_machine_writes_what_import_reads(
    campaign_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    output = tmp_path / "out" / "profiles.json"
    assert main(["--campaign", str(campaign_file), "--output", str(output), "--budget-seconds", "0"]) == 1
    assert main(["--campaign", str(campaign_file), "--output", str(output)]) == 1, "one model failed"
    told = capfd.readouterr().err
    assert "me/stored p=16 o=2: " in told and "nobody-knows-this failed: No architecture for" in told
    profiles = profiles_from_json(output, json.loads(output.read_text()))
    assert [(profile.deployment, len(profile.measurements)) for profile in profiles] == [
        ("me/stored", 6),
        ("made-up", 6),
    ]
    assert sorted(path.name for path in output.parent.iterdir()) == ["profiles.cells", "profiles.json"]


def test_wrong_use_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    assert main(["--output", str(tmp_path / "x.json")]) == 2
    assert capfd.readouterr().err == (
        "helm_efficiency.profiling: Nothing to profile: name a model, or a file with --campaign.\n"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("models: [", ": not YAML"),
        ("- a\n- b", "expected a mapping with a list of `models`"),
        ("model: a", "expected a mapping with a list of `models`"),
        ("models: [a]\nengine: x", "campaign has engine; expected batch_sizes, cells, "),
        ("models: [{path: x}]", "expected a name or a mapping with a name"),
        ("models: [{name: x, weights: y}]", "model 'x' has weights; expected "),
        ("models: [x]\nengines: [vllm]", "Engine 'vllm': expected one of transformers-eager"),
        ("models: [x]\ncells: [[0, 1]]", "Cell p=0 o=1: expected 1 or more"),
        ("models: [x]\nrepetitions: many", "invalid literal for int"),
        ("models: [{name: x, sizes: {layers: 3}}]", "Not an architecture of this package"),
    ],
)
def test_a_wrong_campaign_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(content)
    with pytest.raises(FileFormatError, match=r"campaign\.yaml") as caught:
        read_campaign(path)
    assert message in str(caught.value)


def test_a_missing_campaign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"none\.yaml: cannot be read"):
        read_campaign(tmp_path / "none.yaml")


def test_the_campaign_we_ship_can_be_prepared_and_fits_one_accelerator(tmp_path: Path) -> None:
    campaign = read_campaign(Path(__file__).parents[2] / "run_specs" / "campaign_h200.yaml")
    assert len(campaign.jobs) >= 20 and all(len(job.engines) == 2 for job in campaign.jobs)
    for job in campaign.jobs[::4]:
        prepared = prepare_job(job, CellFiles(tmp_path))
        architecture = prepared.subject.architecture
        assert architecture is not None and architecture.num_parameters() * 2 < 120e9, "bytes in bf16"
        assert prepared.plan().expected_cells() == 20, "none is longer than the model"


def killed_when_it_tells_of(part: str, arguments: list[str]) -> None:
    class Stderr:
        def write(self, text: str) -> None:
            if part in text:
                os.kill(os.getpid(), signal.SIGKILL)

        def flush(self) -> None:
            pass

    sys.stderr = Stderr()  # type: ignore[assignment]
    main(arguments)


def test_a_killed_profile_goes_on_where_it_was_on_a_bare_machine(tiny_llama: Path, tmp_path: Path) -> None:
    output = tmp_path / "profiles.json"
    arguments = [str(tiny_llama), "--output", str(output), "--device", "cpu"]
    arguments += ["--prompt-tokens", "4,8,16,32,64,128,256,512", "--output-tokens", "1,8", "--repetitions", "3"]
    with in_child(lambda: killed_when_it_tells_of("p=16 o=1", arguments)):
        pass
    assert not output.exists()
    (cells,) = (tmp_path / "profiles.cells").iterdir()
    kept = cells.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    results = [CellResult.from_dict(json.loads(line)) for line in kept.splitlines()[1:]]
    assert 3 <= len(results) < 16
    assert main(arguments) == 0
    assert cells.read_bytes().startswith(kept), "finished cells stay as they were"
    (profile,) = (codec.from_plain(item, Profile) for item in json.loads(output.read_text()))
    assert profile.deployment == "tiny-llama" and len(profile.cells()) == 16


def one_of_two(rank: int, port: int, arguments: list[str]) -> None:
    """As torchrun starts it."""
    of_torchrun = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {"MASTER_ADDR": "127.0.0.1"} | {name: str(value) for name, value in of_torchrun.items()}
    assert main(arguments) == 0


def test_a_model_split_over_processes_is_measured_by_the_first(tiny_llama: Path, tmp_path: Path) -> None:
    output = tmp_path / "profiles.json"
    arguments = [str(tiny_llama), "--output", str(output), "--device", "cpu"]
    arguments += ["--prompt-tokens", "4,8", "--output-tokens", "1,2", "--repetitions", "2"]
    with reserved_port() as port, contextlib.ExitStack() as stack:
        for rank in range(2):
            stack.enter_context(in_child(partial(one_of_two, rank, port, arguments)))
    (profile,) = (codec.from_plain(item, Profile) for item in json.loads(output.read_text()))
    assert (profile.stack.num_accelerators, profile.stack.tensor_parallel) == (2, 2)
    (cells,) = (tmp_path / "profiles.cells").iterdir()
    assert cells.name == "tiny-llama--cpu-transformers-eager-fp32--2.jsonl"
    assert len(cells.read_text().splitlines()) == 1 + len(profile.cells()) == 5
