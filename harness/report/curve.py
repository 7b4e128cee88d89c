"""Draws curves with characters for a terminal, as SVG and HTML, and as PNG and PDF with matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from harness.contract.workload import Target
from harness.errors import BenchError, UsageError

#: Width and height of a panel in an SVG, its left margin, and its margins at the top and bottom. All are in pixels.
_WIDTH, _HEIGHT, _LEFT, _MARGIN = 560, 200, 64, 36
#: The bit of each dot of a Braille character, by column and row. The code point of a character is U+2800 plus its bits.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_FORMATS = (".svg", ".html", ".png", ".pdf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One curve of y over x.

    Args:
        label: name of y.
        x: ascending values, 0 or more.
        y: one value for each x.
        limits: values of y at the lower and the upper edge of a drawing in characters. Values beyond an edge are drawn
            at this edge. If None, `bounds` are used.
        level: value of y at which a drawing in characters has a dotted line; None for no line.
    """

    label: str
    x: Sequence[int]
    y: Sequence[float]

    limits: tuple[float, float] | None = None
    level: float | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """The values of y at the lower and the upper edge of the panel.

        The lower edge is zero if the curve is constant and positive. It is also zero if the minimum of the curve is not
        negative and less than half the maximum.
        """
        low, high = min(self.y), max(self.y)
        if 0 <= low < 0.5 * high or low == high > 0:
            low = 0.0
        return (low, high) if high > low else (low - 0.5, high + 0.5)


def characters(panel: Panel, width: int = 60, height: int = 8) -> list[str]:
    """Draw a curve with Braille characters. Labels show the ends of the y axis (left) and of the x axis (below).

    >>> rising = Panel(label="", x=range(9), y=[i / 8 for i in range(9)])
    >>> print("\\n".join(characters(rising, width=5, height=2)))
    1 ┤⠀⠀⠀⡠⠊
    0 ┤⡠⠊⠉⠀⠀
       0   8
    """
    low, high = panel.limits or panel.bounds
    if low == high:
        low, high = low - 0.5, high + 0.5
    cells = [[0] * width for _ in range(height)]
    if panel.level is not None and low <= panel.level <= high:
        row = round((high - panel.level) / (high - low) * (4 * height - 1))
        for column in range(0, 2 * width, 3):
            cells[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
    previous_row: int | None = None
    for column in range(2 * width):
        value = min(max(_nearest_value(panel, column / (2 * width - 1)), low), high)
        row = round((high - value) / (high - low) * (4 * height - 1))
        # A vertical line connects the dot with the dot of the previous column.
        gap = () if previous_row is None else range(min(previous_row, row) + 1, max(previous_row, row))
        for y in {row, *gap}:
            cells[y // 4][column // 2] |= _DOTS[column % 2][y % 4]
        previous_row = row
    edges = [f"{high:.4g}", *[""] * (height - 2), f"{low:.4g}"]
    margin = max(map(len, edges))
    rows = [
        f"{edge.rjust(margin)} {'┤' if edge else '│'}{''.join(chr(0x2800 + cell) for cell in line)}"
        for edge, line in zip(edges, cells, strict=True)
    ]
    return [*rows, " " * (margin + 2) + f"{panel.x[0]:,}" + f"{panel.x[-1]:,}".rjust(width - len(f"{panel.x[0]:,}"))]


def vertical_limits(values: Sequence[float], target: Target | None) -> tuple[float, float]:
    """Return the lowest and the highest value of a curve that a drawing should show.

    This range contains the second half of the curve, the target, and the best value of the whole curve. The first
    values of a run are often many times larger than its last values. If the range contained them, the curve would look
    flat near the target.

    >>> vertical_limits([90.0, 3.0, 1.5, 1.25], Target(metric="loss", goal="min", value=1.0))
    (1.0, 1.5)
    """
    second_half = list(values[len(values) // 2 :]) if len(values) > 2 else list(values)
    best = [] if target is None else [target.value, (min if target.goal == "min" else max)(values)]
    return min(*second_half, *best, math.inf), max(*second_half, *best, -math.inf)


def _nearest_value(panel: Panel, fraction: float) -> float:
    """Return y of the point at a fraction of the curve: 0 is the first point, and 1 is the last point."""
    index = round(fraction * (len(panel.x) - 1))
    return panel.y[index]


def write(panels: Sequence[Panel], path: Path, title: str) -> None:
    """Write the curves to a file, in the format that the suffix of its name determines.

    Raises:
        UsageError: the suffix is not a known format.
        BenchError: the format needs matplotlib, which is not installed, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise UsageError(
            f"--plot {path}: unknown format {suffix!r}", fix=f"end the name with one of: {', '.join(_FORMATS)}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".svg":
            path.write_text(svg(panels, title), encoding="utf-8")
        elif suffix == ".html":
            page = f'<!doctype html>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n{svg(panels, title)}'
            path.write_text(page, encoding="utf-8")
        else:
            _write_with_matplotlib(panels, path, title)
    except OSError as error:
        raise BenchError(
            f"cannot write {path}: {error.strerror or error}", fix="choose another file with --plot"
        ) from error


def svg(panels: Sequence[Panel], title: str) -> str:
    """Return the curves as one SVG document, one below the other."""
    full_height = 24 + len(panels) * (_HEIGHT + 2 * _MARGIN)
    size = f'width="{_LEFT + _WIDTH + 24}" height="{full_height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for index, panel in enumerate(panels):
        lines += _svg_panel(panel, top=24 + _MARGIN + index * (_HEIGHT + 2 * _MARGIN))
    return "\n".join([*lines, "</svg>", ""])


def _svg_panel(panel: Panel, top: int) -> list[str]:
    low, high = panel.bounds
    span = max(panel.x[-1] - panel.x[0], 1)
    points = " ".join(
        f"{_LEFT + (x - panel.x[0]) / span * _WIDTH:.2f},{top + (high - y) / (high - low) * _HEIGHT:.2f}"
        for x, y in zip(panel.x, panel.y, strict=True)
    )
    lines = [f'<text x="{_LEFT}" y="{top - 8}">{escape(panel.label)}</text>']
    for i in range(5):
        y, x = top + i * _HEIGHT / 4, _LEFT + i * _WIDTH / 4
        lines += [
            f'<line x1="{_LEFT}" y1="{y}" x2="{_LEFT + _WIDTH}" y2="{y}" stroke="#ddd"/>',
            f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{high - i * (high - low) / 4:.4g}</text>',
            f'<text x="{x}" y="{top + _HEIGHT + 16}" text-anchor="middle">{panel.x[0] + i * span / 4:,.6g}</text>',
        ]
    return [*lines, f'<polyline points="{points}" fill="none" stroke="#1f77b4" stroke-width="2"/>']


def _write_with_matplotlib(panels: Sequence[Panel], path: Path, title: str) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise BenchError(
            f"{path.suffix} pictures need matplotlib, which is not installed",
            fix='pip install "algorace[plot]", or write an .svg',
        ) from None
    # Figure is used without pyplot, which would need a display and global state.
    figure = Figure(figsize=(6.5, 1 + 2.6 * len(panels)), layout="constrained")
    for axes, panel in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        axes.plot(panel.x, panel.y)
        axes.set(xlabel="update", ylabel=panel.label)
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
