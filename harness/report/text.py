"""Plain text for terminals and pipes, without importing a drawing library."""

from __future__ import annotations

from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"


def columns(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset(), gap: str = "  ") -> str:
    """Rows as aligned columns; the columns in `right` are aligned to the right.

    >>> print(columns([["name", "n"], ["wsd", "10"]], right=frozenset({1})))
    name   n
    wsd   10
    """
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = (
        gap.join(
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """A curve in one line of text; the highest value is a full block.

    >>> sparkline([3.0, 2.0, 1.0])
    '█▄▁'
    """
    if not values:
        return ""
    chosen = [values[i * len(values) // width] for i in range(width)] if len(values) > width else list(values)
    chosen[-1] = values[-1]
    low, high = min(chosen), max(chosen)
    span = (high - low) or 1.0
    return "".join(_BARS[int((v - low) / span * (len(_BARS) - 1))] for v in chosen)


def seconds(value: float) -> str:
    """
    >>> seconds(3.21), seconds(75), seconds(7300)
    ('3.2 s', '1 min 15 s', '2 h 01 min')
    """
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{int(value // 60)} min {int(value % 60):02} s"
    return f"{int(value // 3600)} h {int(value % 3600 // 60):02} min"


def number(value: float) -> str:
    """
    >>> number(1234567), number(0.00314159), number(1.5)
    ('1,234,567', '0.00314', '1.5')
    """
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1000 else f"{value:.3g}"
