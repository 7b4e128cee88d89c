"""Draw a layered graph as SVG, with boxes in rows. Downward arrows do not cross boxes.

Source: Sugiyama, Tagawa, Toda, Methods for Visual Understanding of Hierarchical System Structures (1981). An arrow that
skips rows gets a point in each skipped row. Boxes and points are called nodes. The nodes of a row are ordered by the
mean position of their neighbours.
"""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from html import escape

BOX_WIDTH, BOX_HEIGHT, POINT_WIDTH = 172, 66, 14
COLUMN_GAP, ROW_GAP, MARGIN, CAPTION_LINE = 18, 46, 16, 15
#: Number of passes that order the rows.
ORDERINGS = 24
#: Number of later passes that move nodes towards their neighbours.
MOVES = 12

#: The name of a box, or the point (start, end, row) at which an arrow passes through a row.
Node = str | tuple[str, str, int]
Arrow = tuple[str, str]
Path = Sequence[Node]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Box:
    """A box with a title and a text below it."""

    title: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Graph:
    """A graph of boxes in rows with arrows between them.

    Args:
        boxes: the boxes by name.
        rows: the names of the boxes in each row, from top to bottom.
        arrows: solid arrows, as pairs of names.
        dashed: dashed arrows, as pairs of names.
        caption: text below the graph.
    """

    boxes: Mapping[str, Box]
    rows: Sequence[Sequence[str]]
    arrows: Sequence[Arrow]
    dashed: Sequence[Arrow]
    caption: str


def svg(graph: Graph) -> str:
    """Return the graph as an SVG document. Equal graphs give equal bytes."""
    row_of = {name: index for index, row in enumerate(graph.rows) for name in row}
    arrows = [*graph.arrows, *graph.dashed]
    paths = {arrow: _nodes_along(arrow, row_of) for arrow in arrows if row_of[arrow[0]] < row_of[arrow[1]]}
    sideways = [arrow for arrow in arrows if row_of[arrow[0]] == row_of[arrow[1]]]
    rows = _order_rows(graph.rows, list(paths.values()), sideways)
    x = _place(rows, list(paths.values()))
    right = max(x[node] + _width(node) // 2 for node in x)
    width, bottom = right + MARGIN, _top(len(rows) - 1) + BOX_HEIGHT
    caption = textwrap.wrap(graph.caption, width // 6)
    height = bottom + 2 * MARGIN + CAPTION_LINE * len(caption)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="Helvetica, Arial, sans-serif">',
        f"<title>{escape(graph.caption)}</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#57606a"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    ports = _ports(paths, x)
    for arrow in arrows:
        steps = _steps_down(paths[arrow], row_of, x, ports) if arrow in paths else _steps_straight(arrow, row_of, x)
        dash = ' stroke-dasharray="5 4"' if arrow in graph.dashed else ""
        lines.append(
            f'<path d="{steps}" fill="none" stroke="#57606a" stroke-width="1.2"{dash} marker-end="url(#head)"/>'
        )
    lines += [_box(graph.boxes[name], x[name], _top(row_of[name])) for row in graph.rows for name in row]
    lines += [
        f'<text x="{MARGIN}" y="{bottom + MARGIN + CAPTION_LINE * (index + 1)}" font-size="11" fill="#57606a">'
        f"{escape(line)}</text>"
        for index, line in enumerate(caption)
    ]
    return "\n".join([*lines, "</svg>", ""])


def _nodes_along(arrow: Arrow, row_of: Mapping[str, int]) -> list[Node]:
    """Return the arrow's nodes: its first box, a point in every row between the boxes, and its last box."""
    start, end = arrow
    return [start, *((start, end, row) for row in range(row_of[start] + 1, row_of[end])), end]


def _order_rows(boxes: Sequence[Sequence[str]], paths: Sequence[Path], sideways: Sequence[Arrow]) -> list[list[Node]]:
    """Return the rows with the arrows' points, ordered so that few arrows cross other arrows or boxes."""
    rows: list[list[Node]] = [list(row) for row in boxes]
    for path in paths:
        for node in path[1:-1]:
            assert isinstance(node, tuple)
            rows[node[2]].append(node)
    neighbours = _neighbours(paths, sideways)
    best_rows, fewest_crossings = rows, _crossings(rows, paths, sideways)
    for ordering in range(ORDERINGS):
        rows = [list(row) for row in rows]
        indices = range(len(rows))
        for index in indices if ordering % 2 else reversed(indices):
            x = {node: (position + 0.5) / len(row) for row in rows for position, node in enumerate(row)}
            means = {node: _mean([x[other] for other in neighbours.get(node, [node])]) for node in rows[index]}
            rows[index].sort(key=lambda node: means[node])
        crossings = _crossings(rows, paths, sideways)
        if crossings < fewest_crossings:
            best_rows, fewest_crossings = rows, crossings
    return best_rows


def _neighbours(paths: Sequence[Path], sideways: Sequence[Arrow] = ()) -> dict[Node, list[Node]]:
    neighbours: dict[Node, list[Node]] = {}
    for above, below in [*_segments(paths), *sideways]:
        neighbours.setdefault(above, []).append(below)
        neighbours.setdefault(below, []).append(above)
    return neighbours


def _segments(paths: Sequence[Path]) -> Iterator[tuple[Node, Node]]:
    """Yield the segments of arrows between consecutive rows, each as its upper and its lower node."""
    return ((above, below) for path in paths for above, below in itertools.pairwise(path))


def _crossings(rows: Sequence[Sequence[Node]], paths: Sequence[Path], sideways: Sequence[Arrow]) -> int:
    """Return the number of crossings of two arrows, plus 4 for each node that an arrow within a row crosses."""
    position = {node: (row, index) for row, nodes in enumerate(rows) for index, node in enumerate(nodes)}
    segments: list[list[tuple[int, int]]] = [[] for _ in rows]
    for above, below in _segments(paths):
        segments[position[above][0]].append((position[above][1], position[below][1]))
    pairs = ((first, second) for row in segments for index, first in enumerate(row) for second in row[index + 1 :])
    crossed = sum((a - c) * (b - d) < 0 for (a, b), (c, d) in pairs)
    return crossed + 4 * sum(abs(position[start][1] - position[end][1]) - 1 for start, end in sideways)


def _place(rows: Sequence[Sequence[Node]], paths: Sequence[Path]) -> dict[Node, int]:
    """Return the x coordinate of each node's centre: near its neighbours, in the row's order, without overlap."""
    neighbours = _neighbours(paths)
    x = {node: centre for row in rows for node, centre in _pack(row, dict.fromkeys(row, 0.0)).items()}
    for move in range(MOVES):
        for row in rows if move % 2 else reversed(rows):
            targets = {node: _mean([x[other] for other in neighbours.get(node, [node])]) for node in row}
            # The mean of packing from the left and from the right keeps the row centred.
            forward = _pack(row, targets)
            backward = _pack(row[::-1], {node: -targets[node] for node in row})
            x |= {node: (forward[node] - backward[node]) / 2 for node in row}
    left = min(x[node] - _width(node) / 2 for node in x)
    return {node: round(centre - left) + MARGIN for node, centre in x.items()}


def _pack(row: Sequence[Node], targets: Mapping[Node, float]) -> dict[Node, float]:
    """Return the x coordinate of each node's centre.

    It is the node's target, or further right if the previous node needs the space.
    """
    centres: dict[Node, float] = {}
    edge = float("-inf")
    for node in row:
        centres[node] = max(targets[node], edge + _width(node) / 2)
        edge = centres[node] + _width(node) / 2 + COLUMN_GAP
    return centres


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _width(node: Node) -> int:
    return BOX_WIDTH if isinstance(node, str) else POINT_WIDTH


def _top(row: int) -> int:
    return MARGIN + row * (BOX_HEIGHT + ROW_GAP)


def _ports(paths: Mapping[Arrow, Path], x: Mapping[Node, int]) -> dict[tuple[Arrow, str], int]:
    """Return the x coordinate at which each arrow leaves its first box (`out`) and enters its last box (`in`)."""
    ends: dict[tuple[str, str], list[tuple[int, Arrow]]] = {}
    for arrow, path in paths.items():
        ends.setdefault((arrow[0], "out"), []).append((x[path[1]], arrow))
        ends.setdefault((arrow[1], "in"), []).append((x[path[-2]], arrow))
    ports = {}
    for (name, side), arrows in ends.items():
        step = min(24, (BOX_WIDTH - 20) // len(arrows))
        for index, (_, arrow) in enumerate(sorted(arrows)):
            ports[arrow, side] = x[name] + int((index - (len(arrows) - 1) / 2) * step)
    return ports


def _steps_down(
    path: Path, row_of: Mapping[str, int], x: Mapping[Node, int], ports: Mapping[tuple[Arrow, str], int]
) -> str:
    """Return an SVG path from the bottom of the first box to the top of the last box."""
    start, end = path[0], path[-1]
    assert isinstance(start, str)
    assert isinstance(end, str)
    current_x, bottom = ports[(start, end), "out"], _top(row_of[start]) + BOX_HEIGHT
    steps = [f"M{current_x} {bottom}"]
    for node in path[1:]:
        next_x = ports[(start, end), "in"] if node == end else x[node]
        middle, top = bottom + ROW_GAP // 2, bottom + ROW_GAP
        steps.append(f"C{current_x} {middle} {next_x} {middle} {next_x} {top}")
        if node != end:
            steps.append(f"V{top + BOX_HEIGHT}")
        current_x, bottom = next_x, top + BOX_HEIGHT
    return "".join(steps)


def _steps_straight(arrow: Arrow, row_of: Mapping[str, int], x: Mapping[Node, int]) -> str:
    """Return the SVG path of an arrow within a row, or of an upward arrow.

    An upward arrow leads from the top of its first box to the bottom of its last box.
    """
    start, end = arrow
    if row_of[start] == row_of[end]:
        side = BOX_WIDTH // 2 if x[start] < x[end] else -BOX_WIDTH // 2
        return f"M{x[start] + side} {_top(row_of[start]) + BOX_HEIGHT // 2}H{x[end] - side}"
    return f"M{x[start]} {_top(row_of[start])}L{x[end]} {_top(row_of[end]) + BOX_HEIGHT}"


def _box(box: Box, centre: int, top: int) -> str:
    """Return the SVG of a box with its title and up to three lines of text."""
    text = "".join(
        f'<text x="{centre}" y="{top + 34 + 12 * index}" font-size="10.5" text-anchor="middle" fill="#57606a">'
        f"{escape(line)}</text>"
        for index, line in enumerate(textwrap.wrap(box.text, 31)[:3])
    )
    return (
        f'<rect x="{centre - BOX_WIDTH // 2}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"'
        ' fill="#f6f8fa" stroke="#8c959f"/>'
        f'<text x="{centre}" y="{top + 19}" font-size="14" font-weight="bold" text-anchor="middle">'
        f"{escape(box.title)}</text>{text}"
    )
