"""Format numbers with units."""

from __future__ import annotations

_UNITS = ((10**9, "GB"), (10**6, "MB"))


def format_size(size: int) -> str:
    """Return a number of bytes with a unit; an empty text for 0, which means unknown.

    >>> format_size(8_800_000_000), format_size(26_421_880), format_size(29_515), format_size(0)
    ('8.8 GB', '26.4 MB', '29.5 kB', '')
    """
    if not size:
        return ""
    factor, unit = next(((factor, unit) for factor, unit in _UNITS if size >= factor), (1000, "kB"))
    return f"{size / factor:,.1f} {unit}"
