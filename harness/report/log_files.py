"""Reads the logs of other tools as tables of cells, and converts cells to numbers without rounding integers."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from harness.errors import DataError, StoreError
from harness.system.files import describe_json_error, parse_json, read_text

#: Byte-order mark, which some programs write at the start of a file.
_BOM = "\ufeff"
#: Texts of an empty cell.
EMPTY = frozenset({"", "NA", "N/A", "null", "None"})
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_PLAIN = re.compile(_NUMBER)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
#: A number in the notation of a Python object: `tensor(2.0)`, `np.float32(2.0)`, `[2.0]`.
_WRAPPED = re.compile(
    rf"(?:[A-Za-z_][\w.]*)?[(\[]+\s*(?:{_NUMBER}|[+-]?nan|[+-]?inf).*[)\]]", re.IGNORECASE | re.DOTALL
)
#: Smallest integer that does not fit into a column of 64-bit integers.
_TOO_LARGE = 2**63


class NotANumberError(ValueError):
    """A cell cannot be converted to the requested kind of number. The message completes the sentence "the cell …"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTable:
    """The cells of a log, as they are stored in its file.

    Args:
        path: path of the file, for messages.
        columns: names of the columns.
        rows: column -> cell, by row. An absent cell is empty.
        places: place of each row in the file, such as `line 2`.
    """

    path: str
    columns: tuple[str, ...]
    rows: Sequence[dict[str, Any]]
    places: Sequence[str]

    def cell_error(self, row: int, column: str, problem: str, fix: str) -> DataError:
        """Return an error that names the file, the row, the column and the cell."""
        cell = repr(self.rows[row].get(column))
        shown = cell if len(cell) <= 80 else f"{cell[:79]}…"
        return DataError(f"{self.path}, {self.places[row]}, column {column}: {shown} {problem}", fix=fix)


def read_csv(path: Path) -> LogTable:
    """Read a CSV file with a header. Empty lines are skipped.

    Raises:
        DataError: the file cannot be read or is empty, a name in the header is repeated, or a line has more or fewer
            fields than the header.
    """
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    try:
        reader = csv.reader(io.StringIO(read_text(path).removeprefix(_BOM), newline=""), strict=True)
        header = [name.strip() for name in next(reader, [])]
        for fields in reader:
            if fields and len(fields) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(fields)} fields, but the header has {len(header)}",
                    fix="give each column a name in the header, and each line a field for each column",
                )
            if fields:
                rows.append(dict(zip(header, fields, strict=True)))
                places.append(f"line {reader.line_num}")
    except StoreError as error:
        raise DataError(error.what, fix="give a CSV file with a header, as UTF-8") from None
    except (ValueError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}", fix="give a CSV file with a header, as UTF-8") from None
    if not header:
        raise DataError(f"cannot read {path}: it has no header", fix="give a CSV file with a header")
    repeated = [name for i, name in enumerate(header) if name in header[:i]]
    if repeated:
        raise DataError(f"{path}, line 1: the column {repeated[0]!r} is given twice", fix="rename one of the columns")
    return LogTable(path=str(path), columns=tuple(header), rows=rows, places=places)


def read_json(path: Path) -> LogTable:
    """Read a JSON list of objects, or one JSON object per line.

    Raises:
        DataError: the file cannot be read, is not JSON, has a row that is not an object, or a row has a key twice.
    """
    fix = "give a history exported as JSON or JSON lines"
    try:
        text = read_text(path).removeprefix(_BOM)
        if text.lstrip().startswith("["):
            rows = parse_json(text)
            places = [f"row {number}" for number in range(1, len(rows) + 1)]
        else:
            lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
            rows = [parse_json(line) for _, line in lines]
            places = [f"line {number}" for number, _ in lines]
    except StoreError as error:
        raise DataError(error.what, fix=fix) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {describe_json_error(error)}", fix=fix) from None
    for row, place in zip(rows, places, strict=True):
        if not isinstance(row, dict):
            raise DataError(f"cannot read {path}: {place} is not an object", fix=fix)
    columns = dict.fromkeys(name for row in rows for name in row)
    return LogTable(path=str(path), columns=tuple(columns), rows=rows, places=places)


def is_empty(cell: object) -> bool:
    """Return whether a cell holds nothing. `NaN` is a value, because a diverged run logs it.

    >>> is_empty(" "), is_empty(None), is_empty("NaN")
    (True, True, False)
    """
    return cell is None or (isinstance(cell, str) and cell.strip() in EMPTY)


def holds_number(cell: object) -> bool:
    """Return whether a cell is a number or is meant as one.

    >>> [holds_number(cell) for cell in (2, "2.5", "Infinity", "tensor(2.0)", "train", True)]
    [True, True, True, True, False, False]
    """
    if isinstance(cell, str):
        text = cell.strip()
        return any(pattern.fullmatch(text) for pattern in (_PLAIN, _NOT_FINITE, _WRAPPED))
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def to_float(cell: object) -> float:
    """Return the value of a cell. An empty cell is NaN.

    Raises:
        NotANumberError: the cell is not a number, or its value exceeds the range of a float.

    >>> to_float("2.5"), to_float("-Infinity"), to_float("")
    (2.5, -inf, nan)
    """
    if is_empty(cell):
        return math.nan
    if isinstance(cell, str) and _NOT_FINITE.fullmatch(cell.strip()):
        return float(cell)
    if isinstance(cell, float):
        return cell
    try:
        value = float(_exact(cell))
    except OverflowError:
        value = math.inf
    if math.isinf(value):
        raise NotANumberError("exceeds the range of a float")
    return value


def to_integer(cell: object) -> int:
    """Return the value of a cell as an integer between -2**63 and 2**63.

    Raises:
        NotANumberError: the cell is empty, is not a whole number, or is too large.

    >>> to_integer("1e3"), to_integer(7.0), to_integer("9007199254740993")
    (1000, 7, 9007199254740993)
    """
    value = _exact(cell)
    # The exponent is tested first, because an integer with a billion digits does not fit into memory.
    if value.adjusted() > 18 or abs(value) >= _TOO_LARGE:
        raise NotANumberError("exceeds a signed integer of 64 bits")
    if value != value.to_integral_value():
        raise NotANumberError("is not a whole number")
    return int(value)


def _exact(cell: object) -> Decimal:
    """Return the exact value of a cell with a finite number."""
    if isinstance(cell, str) and _PLAIN.fullmatch(cell.strip()):
        return Decimal(cell.strip())
    # `isfinite` is not called for an integer, because it would fail for an integer that exceeds the range of a float.
    if (isinstance(cell, int) and not isinstance(cell, bool)) or (isinstance(cell, float) and math.isfinite(cell)):
        return Decimal(cell)
    if is_empty(cell):
        raise NotANumberError("is empty")
    if isinstance(cell, str) and _WRAPPED.fullmatch(cell.strip()):
        raise NotANumberError("is a number in the notation of a Python object")
    raise NotANumberError("is not a number")
