"""Cells of a profile and their results, while the profile is being taken."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Self

from helm_efficiency.core.checked import checked
from helm_efficiency.core.measurement import Measurement
from helm_efficiency.errors import InputError, ProfilingError


class CellRefusedError(ProfilingError):
    """A cell could not be timed; others may be."""


class BudgetSpentError(ProfilingError):
    """The time for a whole profile ended while a cell was being timed."""


class Cell(NamedTuple):
    """A shape to time: exactly this many prompt and output tokens, for every row of a batch."""

    prompt_tokens: int
    output_tokens: int
    batch_size: int = 1

    def __str__(self) -> str:
        """Return the text that progress bars and messages show.

        >>> str(Cell(512, 16)), str(Cell(512, 16, 8))
        ('p=512 o=16', 'p=512 o=16 batch=8')
        """
        batch = f" batch={self.batch_size}" if self.batch_size > 1 else ""
        return f"p={self.prompt_tokens} o={self.output_tokens}{batch}"

    def reaches(self, other: "Cell") -> bool:
        """Return whether this cell is at least as large as another in every count and so needs at least its memory.

        >>> Cell(512, 16).reaches(Cell(512, 1)), Cell(512, 1).reaches(Cell(256, 1, 2))
        (True, False)
        """
        return all(mine >= its for mine, its in zip(self, other, strict=True))


def check_cell(cell: Cell) -> Cell:
    """Check a cell and return it.

    Raises:
        InputError: A count is below 1.
    """
    if min(cell) < 1:
        raise InputError(f"Cell {cell}: expected 1 or more prompt tokens, output tokens and rows.")
    return cell


@dataclass(frozen=True, slots=True)
class CellResult:
    """Result of timing one cell.

    Attributes:
        cell: Shape that was asked for.
        measurements: One measurement for each repetition; empty if the cell could not be timed. Measurements of an
            endpoint have the token counts that the server stated.
        too_large: True if the device had no room for the cell, or the server refuses requests of this length.
        spread_fraction: Standard error of the median of the seconds, relative to the median.
        elapsed_s: Time that timing the cell took (s), warm-ups included.
        itl_s: Gaps between tokens of all repetitions (s), if they were observed one by one.
        engine: Times (s) and counts by name that the engine of an endpoint states itself, means over the repetitions;
            empty if it states none.
        note: Note for the reader, with its remedy; empty if there is nothing to say.
    """

    cell: Cell
    measurements: tuple[Measurement, ...]
    too_large: bool = False
    spread_fraction: float = 0.0
    elapsed_s: float = 0.0
    itl_s: tuple[float, ...] = ()
    note: str = ""
    engine: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `from_dict` reads them back."""
        measurements = [
            {name: value for name, value in asdict(m).items() if value is not None} for m in self.measurements
        ]
        return {**asdict(self), "cell": list(self.cell), "measurements": measurements}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            InputError: A value is missing or out of range.
        """
        try:
            measurements = tuple(checked(Measurement(**m)) for m in data["measurements"])
            gaps = tuple(data["itl_s"])
            cell = check_cell(Cell(*data["cell"]))
            engine = dict(data.get("engine", {}))
            if not all(isinstance(number, int | float) for number in (*gaps, *engine.values())):
                raise InputError("Not the result of a cell: itl_s or engine holds more than numbers.")
            return checked(cls(**{**data, "cell": cell, "measurements": measurements, "itl_s": gaps}))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"Not the result of a cell: {error}.") from error
