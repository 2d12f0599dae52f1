"""docs/transfer.md: its commands and its Python work and print what it says."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.cli import app

PAGE = (Path(__file__).parents[1] / "docs" / "transfer.md").read_text(encoding="utf-8")
CONFIG = '{"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, '
CONFIG += '"intermediate_size": 128, "vocab_size": 1000}'


@pytest.fixture
def folder(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page's reader stands: the paper's logs, and a model of one's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "megatron_logs").symlink_to(data_dir / "megatron_logs")
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
    for arguments, shown in _commands():
        given = [
            path
            for argument in arguments
            for path in (sorted(map(str, Path().glob(argument))) if "*" in argument else [argument])
        ]
        result = CliRunner().invoke(app, given)
        assert result.exit_code == 0, (arguments, result.output)
        if shown:
            assert _rounded(result.stdout).splitlines() == _rounded("\n".join(shown)).splitlines()
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "docs/transfer.md", "exec"), names)
    assert names["fit"].tier == "transferred"  # type: ignore[attr-defined]


def test_counts_are_current() -> None:
    assert f"sizes of {len(load_architectures().entries)} architectures" in PAGE
