"""How rows are written to stdout: all at once and one after the other are the same."""

import pytest
from typer.testing import CliRunner

from helm_efficiency.cli import options
from helm_efficiency.cli.command import App
from helm_efficiency.cli.options import Format, FormatOption, emit, note
from helm_efficiency.cli.tables import Field
from helm_efficiency.metrics.quantities import PLAIN

ROWS = [{"a": n, "b": [None, "x, y", 0.5, "模"][n % 4], "c": {"d": "\n"}} for n in range(20)]
FIELDS = (Field("a", "A", PLAIN), Field("b", "B"), Field("c", "C"))


@pytest.mark.parametrize("format", list(Format))
@pytest.mark.parametrize("num_rows", [0, 1, 2, 7, 20])
def test_rows_one_after_the_other_are_the_same_bytes(
    format: Format, num_rows: int, capsys: pytest.CaptureFixture[str]
) -> None:
    emit(ROWS[:num_rows], format, FIELDS)
    expected = capsys.readouterr().out
    emit(iter(ROWS[:num_rows]), format, FIELDS)
    assert capsys.readouterr().out == expected


@pytest.fixture
def app() -> App:
    """A program of one command that prints twenty rows and a note."""
    made = App()

    @made.command()
    def rows(*, one_by_one: bool = False, format: FormatOption = Format.table) -> None:
        emit(iter(ROWS) if one_by_one else ROWS, format, FIELDS)
        note("noted")

    return made


def run(app: App, *arguments: str) -> tuple[list[str], str]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0
    return result.stdout.splitlines(), result.stderr


def test_a_long_table_shows_ten_rows(app: App) -> None:
    lines, noted = run(app)
    assert len(lines) == 2 + 10 + 2
    assert lines[-1] == "… 10 more: --all"
    assert noted == "noted\n"
    assert len(run(app, "--all")[0]) == 2 + 20


def test_quiet_prints_no_notes(app: App) -> None:
    assert run(app, "-q")[1] == ""


def test_a_very_long_table_is_several(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_ROWS_OF_A_TABLE", 8)
    lines, _ = run(app, "--all", "--one-by-one")
    assert len(lines) == 3 * 2 + 20
    assert lines[:2] == lines[10:12]
