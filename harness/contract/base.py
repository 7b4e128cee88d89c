"""The base class of the harness's plain data types."""

from __future__ import annotations

import msgspec


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of data that is stored or sent to another process. It is immutable. Unknown fields are rejected."""
