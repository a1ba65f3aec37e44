"""Tables of plain text for the terminal, laid out by rich: columns as wide as their cells, two spaces between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDER_THAN_ANY_LINE = 1_000_000


@dataclass(frozen=True)
class Column:
    """A column: its heading, whether its cells are numbers (on the right), and how wide it is at least."""

    heading: str = ""
    is_number: bool = False
    min_width: int = 0


def text_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> list[str]:
    """The rows as lines without spaces at their ends; no line is wrapped or cut.

    Args:
        columns: if any of them has a heading, the headings are the first line.
        rows: a cell of plain text for each column.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(column.heading for column in columns))
    for column in columns:
        justify = "right" if column.is_number else "left"
        table.add_column(Text(column.heading), justify=justify, min_width=column.min_width, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    written = StringIO()
    Console(file=written, width=_WIDER_THAN_ANY_LINE, color_system=None).print(table)
    return [line.rstrip() for line in written.getvalue().split("\n")[:-1]]
