"""docs/store.md: its commands, in order, work and print what it says; its Python runs."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helm_efficiency.cli import app

PAGE = (Path(__file__).parents[1] / "docs" / "store.md").read_text(encoding="utf-8")


def _commands() -> list[tuple[list[str], list[str]]]:
    """Commands of the console blocks, each with the lines printed below it."""
    found: list[tuple[list[str], list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ helm-efficiency "):
                found.append((line.split()[2:], []))
            else:
                found[-1][1].append(line)
    return found


def _rounded(text: str) -> list[str]:
    """Numbers to two digits: the last ones depend on the machine's libraries."""
    return re.sub(r"\d+\.\d+ *", lambda number: f"{float(number[0]):.2g} ", text).splitlines()


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (table,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    Path("train.csv").write_text(table)
    for arguments, shown in _commands():
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (arguments, result.output)
        if shown:
            assert _rounded(result.stdout) == _rounded("\n".join(shown)), arguments
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "docs/store.md", "exec"), names)
    assert names["fit"]["coefficients"]["rule"] == "linear"  # type: ignore[index]
