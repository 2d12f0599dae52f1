"""What a profile is made of while it is being taken: cells, and what came of each."""

from typing import NamedTuple

from helm_efficiency.errors import InputError


class Cell(NamedTuple):
    """A shape to time: exactly this many prompt and output tokens, for every row of a batch."""

    prompt_tokens: int
    output_tokens: int
    batch_size: int = 1

    def __str__(self) -> str:
        """As progress bars and messages show it.

        >>> str(Cell(512, 16)), str(Cell(512, 16, 8))
        ('p=512 o=16', 'p=512 o=16 batch=8')
        """
        batch = f" batch={self.batch_size}" if self.batch_size > 1 else ""
        return f"p={self.prompt_tokens} o={self.output_tokens}{batch}"


def check_cell(cell: Cell) -> Cell:
    """The same cell.

    Raises:
        InputError: A count below 1.
    """
    if min(cell) < 1:
        raise InputError(f"Cell {cell}: expected 1 or more prompt tokens, output tokens and rows.")
    return cell
