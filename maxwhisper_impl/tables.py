"""Tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDEST = 1000
"""columns of a table that has all the room it wants"""


def print_whole(table: Table) -> Console:
    """The table on stdout: a terminal that is too narrow wraps the lines, but no figure is cut off."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console()
    room = console.options.update(width=WIDEST)
    console.width = max(console.width, Measurement.get(console, room, table).maximum)
    console.print(table)
    return console
