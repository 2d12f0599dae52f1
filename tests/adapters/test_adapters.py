"""Adapters of other packages: found by their entry points, asked first, and named when they are broken."""

from pathlib import Path

import pytest

from helm_efficiency.adapters.adapters import installed_adapters
from helm_efficiency.adapters.sources import Source, find_sources, read_source
from helm_efficiency.errors import InputError

MODULE = """
from helm_efficiency.adapters.adapters import Adapter
from helm_efficiency.adapters.record import HarnessRun

def read(path):
    identity = {"suite": "", "name": path.stem, "scenario": "s", "model": "m", "deployment": "d"}
    return [HarnessRun(source=str(path), score_name=None, records=(), **identity)]

ADAPTER = Adapter(suffix=".json", recognizes=lambda head: head.startswith(b"mine"), read=read)
"""


def install(folder: Path, points: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip leaves of a package that has one module and these entry points."""
    (folder / "their_logs.py").write_text(MODULE)
    information = folder / "their_logs-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: their-logs\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[helm_efficiency.adapters]\n{points}\n")
    monkeypatch.syspath_prepend(folder)


def test_a_log_is_claimed_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "theirs = their_logs:ADAPTER", monkeypatch)
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.json").write_text('mine "status" "eval"')  # Inspect's, for who knows no better
    (logs / "b.json").write_text('{"status": "success", "eval": {}}')
    (logs / "c.txt").write_text("mine")
    found = find_sources([str(logs)])
    assert found == [Source("theirs", str(logs / "a.json")), Source("inspect", str(logs / "b.json"))]
    (run,) = read_source(found[0])
    assert run.name == "a"


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        (
            "broken = no_such_module:ADAPTER",
            "Adapter broken .no_such_module:ADAPTER. cannot be loaded: No module named",
        ),
        ("broken = their_logs:NOTHING", "cannot be loaded: .*has no attribute 'NOTHING'"),
        (
            "broken = their_logs:read",
            "Adapter broken .their_logs:read. is no helm_efficiency.adapters.adapters.Adapter",
        ),
    ],
)
def test_a_broken_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, reason: str) -> None:
    install(tmp_path, point, monkeypatch)
    with pytest.raises(InputError, match=reason):
        installed_adapters()
