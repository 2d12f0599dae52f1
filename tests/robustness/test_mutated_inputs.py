"""Damaged files of every further kind that a user may name, each put to the use it is read for."""

import io
import json
import random
import shutil
import struct
import zipfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard
from helpers import scored_tables as scored
from helpers.mutations import ODD_TEXTS, damaged, damaged_json
from helpers.run_commands import NUM_CASES, call, check, little_memory

from helm_efficiency.adapters.adapters import read_log
from helm_efficiency.adapters.every_eval_ever import write_every_eval_ever
from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.catalog.accelerators import load_accelerators
from helm_efficiency.catalog.architectures import add_to_file, load_architectures, load_user_architectures
from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import EfficiencyError
from helm_efficiency.formats.detect import export_document, read_coefficient_files
from helm_efficiency.helm_stats.schema import read_schema, shipped_schemas
from helm_efficiency.metrics.api_cost import load_api_prices
from helm_efficiency.profiling.campaign import read_campaign
from helm_efficiency.profiling.cells import Cell, CellResult
from helm_efficiency.profiling.checkpoint import CellFiles
from helm_efficiency.profiling.model_configs import read_config
from helm_efficiency.profiling.models import ModelOptions, load_model, stored_model

FEW = max(NUM_CASES // 10, 10)
"""Cases of what takes a tenth of a second each."""

STACK = Stack("a100-80gb-x", "a100-80gb")


def a_profile(deployment: str = "me/model") -> Profile:
    measured = [Measurement(p, o, 0.01 + p * 1e-4 + (o - 1) * 0.02) for p in (1, 256, 1024) for o in (1, 16, 64)]
    return Profile(deployment, STACK, tuple(measured))


def damaged_yaml(data: bytes, rng: random.Random) -> bytes:
    """Mostly YAML still, with one to three values wrong or gone."""
    if rng.random() < 0.4:
        return damaged(data, rng)
    document = damaged_json(json.dumps(yaml.safe_load(data)).encode(), rng)
    try:
        return yaml.safe_dump(json.loads(document)).encode()
    except (ValueError, RecursionError):
        return document


def test_api_prices(tmp_path: Path) -> None:
    file = tmp_path / "api.csv"
    header = "deployment,input_usd_per_mtok,output_usd_per_mtok,date,source,cache_read_usd_per_mtok\n"
    file.write_text(header + "me/model,1.5,2,2026-01-01,an invoice,0.1\nme/model,1.4,2,2026-02-01,another,\n")
    facts = {"harness": "helm", "suite": "", "run": "r", "scenario": "s", "model": "me/model", "instance_id": "1"}
    counts = {"prompt_tokens": 100, "output_tokens": 10, "cache_read_tokens": 5, "requested_at": 1.77e9}
    provenance = {"prompt_provenance": "usage", "output_provenance": "usage"}
    record = RequestRecord(**facts, **counts, **provenance, deployment="me/model")  # type: ignore[arg-type]

    def read(path: Path) -> None:
        cost = load_api_prices(path).cost(record, today=datetime(2026, 3, 1, tzinfo=UTC))
        assert cost.usd is None or (cost.usd.is_finite() and cost.usd >= 0)

    check(file, read, damaged)


_CAMPAIGN = """
device: cpu
prompt_tokens: [1, 256]
output_tokens: [1, 8]
repetitions: 3
target_error: 0.02
cells_per_round: [4, 8]
models:
  - meta/llama-3-8b
  - {name: me/model, path: ./model, dtype: fp32, engines: [transformers-eager], cells: [[1, 1], [16, 2, 2]]}
  - name: me/made-up
    sizes: {num_layers: 2, hidden_size: 64, num_heads: 4, num_kv_heads: 2, head_size: 16, ffn_size: 8, vocab_size: 256}
"""


def test_campaigns(tmp_path: Path) -> None:
    file = tmp_path / "campaign.yaml"
    file.write_text(_CAMPAIGN)
    check(file, lambda path: [job.cells.plan(2048) for job in read_campaign(path).jobs], damaged_yaml)


def test_architectures_of_a_user(tmp_path: Path) -> None:
    file = tmp_path / "architectures.yaml"
    add_to_file(file, load_architectures().find("meta/llama-3-8b").architecture, source="x", helm_models=["me/a"])

    def read(path: Path) -> None:
        for entry in load_user_architectures(path).entries.values():
            entry.architecture.num_parameters()

    check(file, read, damaged_yaml)


def test_schemas(tmp_path: Path) -> None:
    file = tmp_path / "schema.yaml"
    schema = read_schema(shipped_schemas()[0])
    schema["run_groups"] = schema["run_groups"][:3]
    schema["metrics"] = schema["metrics"][:3]
    file.write_text(yaml.safe_dump(schema))

    def read(path: Path) -> None:
        code, _, stderr = call("schema", path, "--output", tmp_path / "out" / "changed.yaml")
        if code:
            raise EfficiencyError(stderr)

    (tmp_path / "out").mkdir()
    check(file, read, damaged_yaml, num_cases=FEW)


def test_requests_to_predict(tmp_path: Path) -> None:
    store, file = tmp_path / "s.sqlite", tmp_path / "requests.csv"
    fits = tmp_path / "fits.json"
    fits.write_text(json.dumps(export_document([], [fit_profile(a_profile())])))
    assert call("import", fits, "--store", store).code == 0
    sound = b"prompt_tokens,output_tokens\n1,1\n100,10\n5,0\n"
    for seed in range(FEW):
        file.write_bytes(damaged(sound, random.Random(seed)))
        with little_memory():
            code, _, stderr = call("predict", "--deployment", "me/model", "--requests", file, "--store", store)
        assert code == 0 or ((code, stderr.count("\n")) == (2, 1) and file.name in stderr)


def test_coefficients_that_are_used(tmp_path: Path) -> None:
    file = tmp_path / "fits.json"
    file.write_text(json.dumps(export_document([], [fit_profile(a_profile())])))

    def read(path: Path) -> None:
        for fit in read_coefficient_files([str(path)]).fits:
            fit.coefficients.predict([0, 1, 100, 10**9], [0, 1, 10, 10**9])
            fit.coefficients.predict([1, 100], [1, 10], batch_size=[4, 1])
            str(fit.stack)

    check(file, read, damaged_json)


def test_tables_of_helm(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    entry = {"runtime_per_output_token": 0.02, "runtime_for_prompt_tokens": {"1": 0.1, "512": 0.2}}
    file.write_text(json.dumps({"me/a": entry, "me/b": {**entry, "overhead": 0.1}}))

    def read(path: Path) -> None:
        for fit in read_coefficient_files([str(path)], stack_name="a100-80gb-x").fits:
            fit.coefficients.predict([0, 1, 600], [1, 2, 3])

    check(file, read, damaged_json)


def test_finished_cells(tmp_path: Path) -> None:
    files = CellFiles(tmp_path / "s.cells")
    checkpoint = files.open("me/model", STACK, source="a test")
    for tokens in (1, 16, 256):
        checkpoint.append(CellResult(Cell(tokens, 2), (Measurement(tokens, 2, 0.5),), itl_s=(0.1,)))
    sound = checkpoint.path.read_bytes()
    refused = 0
    for seed in range(NUM_CASES):
        data = damaged(sound, random.Random(seed))
        checkpoint.path.write_bytes(data)
        try:
            with little_memory():
                kept = files.open("me/model", STACK, source="a test").results
            assert len(kept) <= 4
            assert data[: data.rfind(b"\n") + 1].startswith(checkpoint.path.read_bytes()) or len(data) < 300
        except EfficiencyError as error:
            refused += 1
            assert checkpoint.path.name in str(error)
            assert checkpoint.path.read_bytes() == data
    assert refused


@pytest.fixture
def inspect_log(data_dir: Path) -> dict[str, Any]:
    log: dict[str, Any] = json.loads((data_dir / "other_harnesses" / "inspect" / "data_arc_sonnet.json").read_bytes())
    log["samples"] = log["samples"][:2]
    return log


ZSTD = 93
"""Which `zipfile` cannot write."""


def zipped(log: dict[str, Any], method: int) -> bytes:
    """An `.eval` file."""
    buffer = io.BytesIO()
    members = {"header.json": {key: value for key, value in log.items() if key != "samples"}}
    members |= {f"samples/{sample['id']}_epoch_1.json": sample for sample in log["samples"]}
    sizes = []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED if method == ZSTD else method) as archive:
        for name, value in members.items():
            data = json.dumps(value).encode()
            sizes.append(len(data))
            archive.writestr(name, zstandard.ZstdCompressor().compress(data) if method == ZSTD else data)
    written = bytearray(buffer.getvalue())
    for signature, method_at, size_at in ((b"PK\x03\x04", 8, 22), (b"PK\x01\x02", 10, 24)):
        start = -1
        for size in sizes if method == ZSTD else ():
            start = written.index(signature, start + 1)
            struct.pack_into("<H", written, start + method_at, ZSTD)
            struct.pack_into("<I", written, start + size_at, size)
    return bytes(written)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, ZSTD])
def test_zipped_inspect_logs(inspect_log: dict[str, Any], tmp_path: Path, method: int) -> None:
    file = tmp_path / "log.eval"
    file.write_bytes(zipped(inspect_log, method))
    check(file, lambda path: read_log("inspect", path), damaged, num_cases=NUM_CASES // 3)


def test_a_zip_that_unpacks_to_gigabytes(inspect_log: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "log.eval"
    for size in (10**8, 2 * 10**9):
        data = bytearray(zipped(inspect_log | {"samples": []}, ZSTD))
        struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, size)
        file.write_bytes(data)
        with little_memory():
            try:
                read_log("inspect", file)
            except EfficiencyError as error:
                assert "expected at most 1,000,000,000" in str(error) and size > 10**9


def test_zipped_inspect_logs_with_wrong_values(inspect_log: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "log.eval"
    file.write_bytes(zipped(inspect_log, zipfile.ZIP_DEFLATED))

    def damage(data: bytes, rng: random.Random) -> bytes:
        source, target = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
        broken = rng.choice(source.namelist())
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in source.namelist():
                content = source.read(name)
                archive.writestr(name, damaged_json(content, rng) if name == broken else content)
        return target.getvalue()

    check(file, lambda path: read_log("inspect", path), damage, num_cases=NUM_CASES // 3)


def test_lines_of_every_eval_ever(inspect_log: dict[str, Any], tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    log.write_text(json.dumps(inspect_log))
    (run,) = read_log("inspect", log)
    file = write_every_eval_ever(run, tmp_path / "eee", organization="us", retrieved_at=0.0).instances

    def damage(data: bytes, rng: random.Random) -> bytes:
        lines = data.splitlines(keepends=True)
        at = rng.randrange(len(lines))
        if rng.random() < 0.5:  # as others write them, without our own record in it
            line = json.loads(lines[at])
            del line["metadata"]
            lines[at] = json.dumps(line).encode() + b"\n"
        lines[at] = damaged_json(lines[at], rng) + b"\n"
        return b"".join(lines)

    check(file, lambda path: read_log("every-eval-ever", path), damage)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny Llama with weights."""
    import torch
    import transformers

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(vocab_size=32, max_position_embeddings=64, **sizes)
    torch.manual_seed(0)
    folder = tmp_path / "a-model"
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors"])
def test_checkpoints_of_models(model: Path, name: str) -> None:
    def read(folder: Path) -> None:
        subject = stored_model(folder, ModelOptions("cpu"))
        subject.stack("transformers-eager"), subject.architecture, subject.max_tokens, subject.vocab_size
        load_model(subject)

    damage = damaged if name.endswith("safetensors") else damaged_json
    if name == "generation_config.json":  # transformers passes over most of what is wrong in it
        sound = (model / name).read_bytes()
        for seed in range(FEW):
            (model / name).write_bytes(damage(sound, random.Random(seed)))
            try:
                read(model)
            except EfficiencyError as error:
                assert model.name in str(error)
    else:
        check(model / name, read, damage, of=model, num_cases=NUM_CASES // 3)


def test_a_model_of_billions_of_layers(model: Path) -> None:
    values = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(values | {"num_hidden_layers": 2**31}))
    with pytest.raises(EfficiencyError, match=r"a-model .*num_hidden_layers is 2147483648, expected at most 10000"):
        stored_model(model, ModelOptions("cpu"))


def test_configs_of_models(model: Path) -> None:
    def read(path: Path) -> None:
        architecture = Architecture.from_transformers_config(read_config(str(path)).values, name="x")
        architecture.num_parameters(), asdict(architecture)

    def named(path: Path) -> None:
        try:
            read(path)
        except EfficiencyError as error:  # the sizes' own message names the key; the command names the file
            raise type(error)(f"{path}: {error}") from error

    check(model / "config.json", named, damaged_json)


@pytest.mark.parametrize("name", ["stats.json", "per_instance_stats.json", "scenario_state.json", "run_spec.json"])
def test_rescoring_of_damaged_runs(data_dir: Path, tmp_path: Path, name: str) -> None:
    from helpers.archives import plan_for

    from helm_efficiency.adapters.sources import find_sources
    from helm_efficiency.rescoring.rescore import rescore

    real = next((data_dir / "helm_runs" / "mmlu_llama3").rglob("run_spec.json")).parent
    folder = tmp_path / "v1" / "a-run"
    shutil.copytree(real, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    sound = (folder / name).read_bytes()
    num_failed = 0
    for seed in range(FEW):
        (folder / name).write_bytes(damaged_json(sound, random.Random(f"{name} {seed}")))
        output = tmp_path / "out"
        with little_memory():
            (outcome,) = rescore(plan_for(output), find_sources([str(folder.parent)], besides=output))
        num_failed += outcome.status == "failed"
        assert outcome.status != "failed" or "a-run" in outcome.error
    assert num_failed


REALS = (None, 0.0, 5e-324, 1e-12, 1.0, 1e12, float("nan"))
COUNTS = (None, 0, 1, 2**31, 2**53)
NAMES = tuple(text for text in ODD_TEXTS if text != "\ud800")


def test_boards_of_odd_values(tmp_path: Path) -> None:
    """Whatever scoring may write is ranked and drawn."""
    for seed in range(FEW // 4):
        rng = random.Random(seed)
        rows = []
        for index in range(6):
            odd: dict[str, Any] = {name: rng.choice(REALS) for name in ("observed_s", "idealized_s", "api_usd")}
            odd |= {name: rng.choice(COUNTS) for name in ("prompt_tokens", "output_tokens")}
            odd |= {name: rng.choice(NAMES) for name in ("deployment", "scenario", "stack") if rng.random() < 0.3}
            rows.append(scored.request("a/b", "boolq", index, rng.choice((0.0, 1.0, 0.5, -1e9, None))) | odd)
        folder = scored.write(tmp_path / str(seed), rows)
        commands: list[tuple[object, ...]] = [("leaderboard", folder)]
        commands.append(("leaderboard", folder, "--format", "json", "--each"))
        if seed % 5 == 0:
            commands.append(("plot", folder, "--output", tmp_path / "t.svg"))
            commands.append(("report", folder, "--output", tmp_path / "r.html"))
        for arguments in commands:
            with little_memory():
                code, _, stderr = call(*arguments)
            assert code in (0, 1) or (code == 2 and stderr.count("\n") == 1), (seed, arguments, stderr)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
HOLDERS = "models: [{name: *j}]\nprices: *j\nfamilies: *j\nrun_groups: *j\n"


@pytest.mark.parametrize("text", [BOMB + HOLDERS, "&a [*a]\n"])
def test_few_lines_that_stand_for_billions(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bomb.yaml"
    file.write_text(text)
    for read in (read_campaign, load_user_architectures, load_accelerators, lambda path: read_schema(str(path))):
        with little_memory(), pytest.raises(EfficiencyError, match=r"bomb.yaml: more than 1,000,000 values"):
            read(file)
