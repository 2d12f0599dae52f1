"""docs/transfer.md: its commands work and print what it says; its Python runs."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.cli import app
from helm_efficiency.core.fitting import fit_profile
from helm_efficiency.profiling.megatron_logs import read_megatron_log
from helm_efficiency.store import Store

PAGE = (Path(__file__).parents[1] / "docs" / "transfer.md").read_text(encoding="utf-8")
CONFIG = '{"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, '
CONFIG += '"intermediate_size": 128, "vocab_size": 1000}'


@pytest.fixture
def folder(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page's reader stands after importing and fitting the logs."""
    monkeypatch.chdir(tmp_path)
    store = Store("s.sqlite")
    for path in sorted((data_dir / "megatron_logs" / "a100").glob("*.log")):
        profile = read_megatron_log(path)
        store.put_profile(profile)
        store.put_fit(fit_profile(profile))
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model" / "config.json").write_text(CONFIG)
    return tmp_path


def _commands() -> list[tuple[list[str], list[str]]]:
    """Commands of the console blocks, each with the lines printed below it."""
    found: list[tuple[list[str], list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ helm-efficiency "):
                found.append((line.split("  #")[0].split()[2:], []))
            else:
                found[-1][1].append(line)
    return found


def _rounded(text: str) -> str:
    """Numbers to two digits: the last ones depend on the machine's libraries."""
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.2g}", text)


def test_commands_work_and_print_what_the_page_says(folder: Path) -> None:
    commands = [(arguments, shown) for arguments, shown in _commands() if arguments[0] not in ("import", "fit")]
    assert len(commands) > 6
    for arguments, shown in commands:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (arguments, result.output)
        if shown:
            assert _rounded(result.stdout).splitlines() == _rounded("\n".join(shown)).splitlines()


def test_python_runs(folder: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "docs/transfer.md", "exec"), names)
    assert names["fit"].tier == "transferred"  # type: ignore[attr-defined]


def test_counts_are_current() -> None:
    assert f"sizes of {len(load_architectures().entries)} architectures" in PAGE
