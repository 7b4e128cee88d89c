"""The base class of all plain data."""

from __future__ import annotations

import msgspec


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of all data that is stored or crosses a process boundary: immutable, without unknown fields."""
