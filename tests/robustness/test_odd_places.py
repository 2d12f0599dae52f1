"""Folders and files as nobody would make them: huge, endless, oddly named, linked in circles.

HELM_EFFICIENCY_ENTRIES sets how many entries the largest folder has.
"""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import scored_tables as scored
from helpers.run_commands import call, little_memory, refused

from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import EfficiencyError
from helm_efficiency.store import Store

NUM_ENTRIES = int(os.environ.get("HELM_EFFICIENCY_ENTRIES", "3000"))
TWO_GIGABYTES = 2 * 10**9
STACK = Stack("a100-80gb-x", "a100-80gb")
PROFILE = Profile(
    "openai/gpt2", STACK, tuple(Measurement(p, o, 0.01 + p * 1e-4 + o * 0.02) for p in (1, 64, 1024) for o in (1, 16))
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "s.sqlite"
    Store(path).put_all([PROFILE], [fit_profile(PROFILE)])
    return path


@pytest.fixture
def a_run(data_dir: Path, tmp_path: Path) -> Path:
    """A small real run, in a suite of its own."""
    real = next((data_dir / "helm_runs" / "small").rglob("run_spec.json")).parent
    run = tmp_path / "archive" / "v1" / "a-run"
    shutil.copytree(real, run, copy_function=shutil.copyfile)
    run.chmod(0o755)
    return run


def sparse(path: Path, head: bytes = b"") -> Path:
    """A file of two gigabytes that takes no room on disk."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(TWO_GIGABYTES)
    return path


INSPECT = b'{"version": 2, "status": "success", "eval": {"task": "t", "model": "m"}, "samples": ['
LINE = b'{"schema_version": "instance_level_eval_0.2.2", "evaluation_id": "a"'


@pytest.mark.parametrize("name", ["scenario_state.json", "per_instance_stats.json", "stats.json", "run_spec.json"])
def test_huge_files_of_a_run(a_run: Path, store: Path, tmp_path: Path, name: str) -> None:
    sparse(a_run / name, b"[")
    began = time.process_time()
    with little_memory():
        code, stdout, _ = call(
            "rescore", a_run.parent, "--store", store, "--output", tmp_path / "out", "--format", "json", "--jobs", "1"
        )
    (failed,) = json.loads(stdout)["failed"]
    assert code == 1 and f"{name}: more than 100 MB in one piece; expected a list in the indented" in failed["error"]
    assert time.process_time() - began < 30


@pytest.mark.parametrize(
    ("name", "head", "command"),
    [
        ("log.json", INSPECT, ["records"]),
        ("lines.jsonl", LINE, ["records"]),
        ("results.json", b'{"results": {}, "configs": {}', ["records"]),
        ("groq.json", b'[{"end_to_end_latency_s": 1', ["records"]),
    ],
)
def test_huge_logs(tmp_path: Path, name: str, head: bytes, command: list[str]) -> None:
    file = sparse(tmp_path / name, head)
    with little_memory():
        code, _, stderr = call(*command, file)
    assert code == 1 and f"{name}: 2,000,000,000 bytes; expected at most 1,000,000,000." in stderr


def test_huge_files_of_every_kind(store: Path, tmp_path: Path) -> None:
    """Measurements, prices, campaigns, configs, schemas, caches, stores: refused at once."""
    csv = sparse(tmp_path / "m.csv", b"prompt_tokens,output_tokens,seconds\n1,1,1\n")
    requests = sparse(tmp_path / "r.csv", b"prompt_tokens,output_tokens\n1,1\n")
    document = sparse(tmp_path / "m.json", b'{"format_version": 1, "fits": []')
    log, text = sparse(tmp_path / "bloom.log", b"Runtime for"), sparse(tmp_path / "t.yaml", b"models:\n")
    config, cache = sparse(tmp_path / "config.json", b"{"), sparse(tmp_path / "openai.sqlite")
    model = tmp_path / "model"
    model.mkdir()
    sparse(model / "config.json", b"{")
    named = ["--deployment", "me/model", "--stack", "a100-80gb-x"]
    commands: list[tuple[Path, list[object]]] = [
        (csv, ["import", csv, *named, "--store", store]),
        (document, ["import", document, "--store", store]),
        (log, ["import", log, *named, "--store", store]),
        (requests, ["predict", "--deployment", "openai/gpt2", "--requests", requests, "--store", store]),
        (text, ["profile", "--campaign", text, "--store", store]),
        (text, ["architecture", "list", "--architectures", text]),
        (text, ["accelerators", "--prices", text]),
        (text, ["schema", text]),
        (config, ["architecture", "add", config, "--architectures", tmp_path / "a.yaml"]),
        (config, ["accelerators", "--fits", config]),
        (model, ["profile", model, "--store", store]),
        (cache, ["show", "--store", cache]),
        (cache, ["records", csv, "--cache", cache]),
    ]
    for file, command in commands:
        with little_memory():
            refused(*command, naming=file)


def test_huge_tables(tmp_path: Path) -> None:
    folder = scored.write(tmp_path / "scored", [scored.request("a/b", "boolq", 0, 1.0)])
    sparse(folder / "runs.parquet", b"PAR1")
    with little_memory():
        refused("leaderboard", folder, naming=folder / "runs.parquet")


def test_pipes_and_devices(a_run: Path, store: Path, tmp_path: Path) -> None:
    """Nothing waits for what never comes, nor reads what never ends; no device is replaced by a file."""
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    refused("import", pipe, "--store", store, naming=pipe)
    refused("import", "/dev/zero", "--store", store, naming="/dev/zero")
    refused("accelerators", "--prices", pipe, naming=pipe)
    (a_run / "scenario_state.json").unlink()
    os.mkfifo(a_run / "scenario_state.json")
    os.mkfifo(a_run.parent / "log.json")
    code, _, stderr = call("records", a_run.parent)
    assert code == 1 and "scenario_state.json" in stderr
    device = tmp_path / "device"
    os.mkfifo(device)
    with subprocess.Popen(["cat", str(device)], stdout=subprocess.PIPE) as reader:
        assert call("schema", "lite", "--output", device).code == 0
        assert reader.stdout is not None and b"run_groups" in reader.stdout.read()
    assert device.is_fifo()


def test_outputs_through_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.yaml").symlink_to(tmp_path / "elsewhere" / "s.yaml")
    assert call("schema", "lite", "--output", tmp_path / "link.yaml").code == 0
    assert (tmp_path / "link.yaml").is_symlink() and (tmp_path / "elsewhere" / "s.yaml").stat().st_size > 1000
    (tmp_path / "loop").symlink_to("loop")
    refused("schema", "lite", "--output", tmp_path / "loop", naming=tmp_path / "loop")
    refused("schema", "lite", "--output", tmp_path / "elsewhere", naming=tmp_path / "elsewhere")


ODD_NAMES = [
    "..x",
    "模型 🦙",
    "<script>alert(1)<",
    "=cmd()",
    "a\nb",
    "a" * 255,
    "[red]",
    ":fire:",
    "%s {0}",
    "-",
    "\x1b[31m",
    "a\u202eb",
    " ",
    "'\"",
]
IN_BYTES = [*(name.encode() for name in ODD_NAMES), b"\xff\xfe", b"caf\xe9"]


def test_runs_of_odd_names(a_run: Path, store: Path, tmp_path: Path) -> None:
    """All are scored, told on one line each, ranked and drawn; what is no text at all is told apart."""
    suite = a_run.parent
    spec = json.loads((a_run / "run_spec.json").read_bytes())
    for number, name in enumerate(IN_BYTES):
        folder = os.path.join(os.fsencode(suite), name)  # noqa: PTH118 (a Path cannot be made of every name)
        shutil.copytree(a_run, os.fsdecode(folder))
        text = os.fsdecode(name).encode("utf-8", "replace").decode()
        spec["name"] = f"s:number={number},name={text},markup=[/red]"
        (Path(os.fsdecode(folder)) / "run_spec.json").write_text(json.dumps(spec))
    (suite / "loop").symlink_to(suite)
    (suite / "self").symlink_to("self")
    output = tmp_path / "out"
    places = (suite / ".." / "v1", suite, suite / "loop")
    code, stdout, stderr = call("rescore", *places, "--store", store, "--output", output, "--format", "json")
    summary = json.loads(stdout)
    assert (summary["num_scored"], summary["num_failed"]) == (1 + len(ODD_NAMES), 2), (summary, stderr)
    assert ["is not UTF-8" in failed["error"] for failed in summary["failed"]] == [True, True], summary["failed"]
    assert code == 1 and len(list((output / "requests").iterdir())) == 1 + len(ODD_NAMES)
    assert [name for name in ODD_NAMES if not (output / "runs" / "v1" / name / "stats.json").is_file()] == []
    assert not [path for path in tmp_path.rglob("*") if ".." in path.parts]
    for command in (["leaderboard", output], ["records", suite], ["records", suite, "--format", "csv"]):
        code, stdout, stderr = call(*command)
        assert code == 0, stderr
        assert "\x1b" not in stderr and "\u202e" not in stderr
    assert call("report", output, "--output", tmp_path / "r.html").code == 0
    drawn = call("plot", output, "--x", "observed_s", "--output", tmp_path / "t.svg")
    assert drawn.code == 0, drawn.stderr


def test_names_that_are_no_text_on_a_terminal_of_ascii(a_run: Path) -> None:
    """Printed as escapes, in a process of its own whose terminal knows ASCII only."""
    spec = json.loads((a_run / "run_spec.json").read_bytes())
    (a_run / "run_spec.json").write_text(json.dumps(spec | {"name": "模型 \x1b[31m"}))
    command = [sys.executable, "-m", "helm_efficiency.cli", "records", str(a_run)]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert rb"\u6a21\u578b \x1b[31m" in done.stdout and b"\x1b" not in done.stdout


def test_a_run_of_linked_files(a_run: Path, store: Path, tmp_path: Path) -> None:
    """As archives kept by git-annex have them: each file is a link to where its content is."""
    annex = tmp_path / "annex"
    annex.mkdir()
    for number, file in enumerate(sorted(a_run.iterdir())):
        file.rename(annex / str(number))
        file.symlink_to(annex / str(number))
    output = tmp_path / "out"
    assert call("rescore", a_run.parent, "--store", store, "--output", output, "--jobs", "1").code == 0
    copied = output / "runs" / "v1" / "a-run"
    assert {"stats.json", "per_instance_stats.json", "scenario_state.json"} <= {path.name for path in copied.iterdir()}
    assert not (copied / "stats.json").is_symlink()
    assert (copied / "stats.json").read_bytes() != (a_run / "stats.json").read_bytes()


def in_time_and_memory(work: Callable[[], object], *, num_bytes: int) -> float:
    """Seconds of a processor that something takes, in little memory."""
    began = time.process_time()
    with little_memory(num_bytes):
        work()
    return time.process_time() - began


def test_a_folder_of_very_many_entries(a_run: Path, store: Path, tmp_path: Path) -> None:
    """Files that are none of ours, and empty folders; the one run among them is found."""
    suite = a_run.parent
    for number in range(NUM_ENTRIES):
        place = suite / f"{number:07}"
        if number % 4:
            os.close(os.open(place.with_suffix((".txt", ".json", ".log")[number % 3]), os.O_CREAT | os.O_WRONLY))
        else:
            place.mkdir()
    output = tmp_path / "out"
    arguments = ("rescore", suite, "--store", store, "--output", output, "--format", "json", "--jobs", "1")
    outcome = []
    seconds = in_time_and_memory(lambda: outcome.append(call(*arguments)), num_bytes=10**9)
    assert json.loads(outcome[0].stdout)["num_scored"] == 1
    assert seconds < 20 + NUM_ENTRIES / 1000


def test_very_many_runs(a_run: Path, store: Path, tmp_path: Path) -> None:
    """Each fails or is scored by itself."""
    suite = a_run.parent
    for number in range(NUM_ENTRIES // 10):
        folder = suite / f"run{number:06}"
        folder.mkdir()
        (folder / "run_spec.json").write_bytes(b"{}")
    arguments = ("rescore", suite, "--store", store, "--output", tmp_path / "out", "--format", "json", "--jobs", "1")
    outcome = []
    in_time_and_memory(lambda: outcome.append(call(*arguments)), num_bytes=10**9)
    summary = json.loads(outcome[0].stdout)
    assert (summary["num_scored"], summary["num_failed"]) == (1, NUM_ENTRIES // 10)
    assert all("run" in each["error"] and "scenario_state.json" in each["error"] for each in summary["failed"])


def test_nothing_is_read_far_above_its_limit(tmp_path: Path) -> None:
    """The most that a file of measurements may have, in a process of its own: under a gigabyte at the peak."""
    file = tmp_path / "m.csv"
    row = b"1,1,1,0.5\n"
    file.write_bytes(b"prompt_tokens,output_tokens,batch_size,seconds\n" + row * 20_000)
    script = (
        "import re, sys; from helm_efficiency.formats.csv_measurements import read_measurement_csv; "
        "from pathlib import Path; read_measurement_csv(Path(sys.argv[1]), deployment='a/b', stack_name='x'); "
        # not ru_maxrss, which begins with what the process that started this one had
        "print(re.search(r'VmHWM:\\s*(\\d+) kB', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 10**9


def test_a_store_with_a_value_of_gigabytes(store: Path) -> None:
    import sqlite3

    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("UPDATE fits SET value = zeroblob(100000000)")
        connection.commit()
    limit = resource.getrlimit(resource.RLIMIT_AS)
    with little_memory(), pytest.raises(EfficiencyError, match=r"s.sqlite"):
        Store(store, create=False).fits()
    assert resource.getrlimit(resource.RLIMIT_AS) == limit
