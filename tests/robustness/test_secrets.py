"""A key in the environment, in HELM's credentials, in a cache or in an address is in nothing that is written."""

import contextlib
import json
import pickle
import shutil
import sqlite3
from pathlib import Path

import pytest
from helpers import scored_tables as scored
from helpers.run_commands import call

from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.store import Store

SECRET = "sk-very-secret-0123456789"


@pytest.fixture
def surroundings(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with HELM's credentials, a cache of requests with their headers, runs and a store."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "HELM_PROXY_API_KEY"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prod_env" / "cache").mkdir(parents=True)
    (tmp_path / "prod_env" / "credentials.conf").write_text(f'openaiApiKey: "{SECRET}"\n')
    shutil.copytree(data_dir / "helm_runs" / "small" / "runs", tmp_path / "v1", copy_function=shutil.copyfile)
    for path in (tmp_path / "v1").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with contextlib.closing(sqlite3.connect(tmp_path / "prod_env" / "cache" / "openai.sqlite")) as connection:
        connection.execute("CREATE TABLE unnamed (key TEXT PRIMARY KEY, value BLOB)")
        headers = {"Authorization": f"Bearer {SECRET}", "x-api-key": SECRET}
        for row, broken in enumerate((False, True, False)):
            key = json.dumps({"prompt": f"p{row}", "headers": headers, "api_key": SECRET})
            response = {
                "request_time": row + 0.5,
                "headers": headers,
                "usage": {"prompt_tokens": 3, "completion_tokens": 4},
            }
            value = pickle.dumps(response, protocol=4)
            connection.execute("INSERT INTO unnamed VALUES (?, ?)", (key, value[:-20] if broken else value))
        connection.commit()
    stack = Stack("a100-80gb-x", "a100-80gb")
    measured = tuple(Measurement(p, o, 0.01 + p * 1e-4 + o * 0.02) for p in (1, 64, 1024) for o in (1, 16))
    Store(tmp_path / "prod_env" / "efficiency.sqlite").put_profile(Profile("openai/gpt2", stack, measured))
    scored.write(tmp_path / "scored", [scored.request("a/b", "boolq", n, float(n % 2)) for n in range(4)])
    return tmp_path


def test_no_secret_in_any_output(surroundings: Path) -> None:
    given = {path for path in surroundings.rglob("*") if path.is_file()}
    cache = ("--cache", "prod_env/cache")
    commands: list[tuple[object, ...]] = [
        ("fit",),
        ("rescore", "v1", "--output", "out", *cache),
        ("rescore", "v1", "--output", "out", *cache, "--in-place", "--explain"),
        ("records", "v1", *cache, "--every-eval-ever", "eee"),
        ("records", "v1", *cache, "--format", "csv"),
        ("denoise", "v1", *cache),
        ("leaderboard", "out"),
        ("report", "scored", "--output", "s.html"),
        ("plot", "scored", "--output", "t.svg"),
        ("export", "--output", "export.json"),
        ("show", "--format", "json"),
        ("profile", "m", "--base-url", f"http://me:{SECRET}@127.0.0.1:1/v1"),
        ("rescore", f"ftp://me:{SECRET}@127.0.0.1:1/runs", "--output", "out2"),
        ("rescore", f"sftp://me:{SECRET}@127.0.0.1:1/runs", "--output", "out3"),
        ("architecture", "add", "nobody/no-such-model", "--architectures", "a.yaml"),
    ]
    for command in commands:
        _, stdout, stderr = call(*command)
        assert SECRET not in stdout + stderr, command
    made = [path for path in surroundings.rglob("*") if path.is_file() and path not in given]
    assert len(made) > 20
    assert not [path for path in made if SECRET.encode() in path.read_bytes()]
