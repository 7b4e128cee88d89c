"""A curve as a picture: characters for a terminal, SVG and HTML, and other formats by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from harness.errors import BenchError, UsageError

#: Pixels of a panel in an SVG, and of the margins left of it and above and below it.
_WIDTH, _HEIGHT, _LEFT, _MARGIN = 560, 200, 64, 36
#: The dots of a Braille character by column and row, as bits above U+2800.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_FORMATS = (".svg", ".html", ".png", ".pdf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One curve: y over x; x ascends and begins at 0 or above."""

    label: str
    x: Sequence[int]
    y: Sequence[float]

    @property
    def bounds(self) -> tuple[float, float]:
        """The values at the lower and upper edge; a curve that is flat or comes near zero is drawn from zero."""
        low, high = min(self.y), max(self.y)
        if 0 <= low < 0.5 * high or low == high > 0:
            low = 0.0
        return (low, high) if high > low else (low - 0.5, high + 0.5)


def characters(panel: Panel, width: int = 60, height: int = 8) -> list[str]:
    """The curve in Braille dots, with its bounds at the side and its first and last x below.

    >>> rising = Panel(label="", x=range(9), y=[i / 8 for i in range(9)])
    >>> print("\\n".join(characters(rising, width=5, height=2)))
    1 ┤⠀⠀⠀⡠⠊
    0 ┤⡠⠊⠉⠀⠀
       0   8
    """
    low, high = panel.bounds
    cells = [[0] * width for _ in range(height)]
    before: int | None = None
    for column in range(2 * width):
        value = _nearest_value(panel, column / (2 * width - 1))
        row = round((high - value) / (high - low) * (4 * height - 1))
        # A jump is a vertical line.
        for y in {row, *(range(min(before, row) + 1, max(before, row)) if before is not None else ())}:
            cells[y // 4][column // 2] |= _DOTS[column % 2][y % 4]
        before = row
    edges = [f"{high:.4g}", *[""] * (height - 2), f"{low:.4g}"]
    margin = max(map(len, edges))
    rows = [
        f"{edge.rjust(margin)} {'┤' if edge else '│'}{''.join(chr(0x2800 + cell) for cell in line)}"
        for edge, line in zip(edges, cells, strict=True)
    ]
    return [*rows, " " * (margin + 2) + f"{panel.x[0]:,}" + f"{panel.x[-1]:,}".rjust(width - len(f"{panel.x[0]:,}"))]


def _nearest_value(panel: Panel, share: float) -> float:
    """The value at a share of the way from the first to the last x, of the nearest point."""
    index = round(share * (len(panel.x) - 1))
    return panel.y[index]


def write(panels: Sequence[Panel], path: Path, title: str) -> None:
    """Write the curves to a file, in the format of its suffix.

    Raises:
        UsageError: a suffix that is not a known format.
        BenchError: matplotlib is needed and not installed, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise UsageError(f"--plot {path}: unknown format {suffix!r}", fix=f"end the name in {', '.join(_FORMATS)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".svg":
            path.write_text(svg(panels, title), encoding="utf-8")
        elif suffix == ".html":
            page = f'<!doctype html>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n{svg(panels, title)}'
            path.write_text(page, encoding="utf-8")
        else:
            _by_matplotlib(panels, path, title)
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror or error}", fix="name another file") from error


def svg(panels: Sequence[Panel], title: str) -> str:
    """The curves as one SVG document, one below the other."""
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


def _by_matplotlib(panels: Sequence[Panel], path: Path, title: str) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise BenchError(
            f"{path.suffix} pictures need matplotlib, which is not installed",
            fix='pip install "algorace[plot]", or write an .svg',
        ) from None
    # A figure without pyplot: no window, no global state, no display needed.
    figure = Figure(figsize=(6.5, 1 + 2.6 * len(panels)), layout="constrained")
    for axes, panel in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        axes.plot(panel.x, panel.y)
        axes.set(xlabel="update", ylabel=panel.label)
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
