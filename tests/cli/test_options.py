"""How rows are written to stdout: all at once and one after the other are the same."""

import pytest

from helm_efficiency.cli import options
from helm_efficiency.cli.options import Format, emit, emit_each

ROWS = [{"a": n, "b": [None, "x, y", 0.5, "模"][n % 4], "c": {"d": "\n"}} for n in range(7)]


@pytest.mark.parametrize("format", list(Format))
@pytest.mark.parametrize("num_rows", [0, 1, 2, 7])
def test_rows_one_after_the_other_are_the_same_bytes(
    format: Format, num_rows: int, capsys: pytest.CaptureFixture[str]
) -> None:
    emit(ROWS[:num_rows], format)
    expected = capsys.readouterr().out
    emit_each(iter(ROWS[:num_rows]), format)
    assert capsys.readouterr().out == expected


def test_a_very_long_table_is_several(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(options, "_ROWS_OF_A_TABLE", 3)
    emit_each(iter(ROWS), Format.table)
    told = capsys.readouterr().out
    for part in (ROWS[:3], ROWS[3:6], ROWS[6:]):
        emit(part, Format.table)
    assert capsys.readouterr().out == told
