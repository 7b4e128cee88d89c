"""The base class of the harness's plain data types."""

from __future__ import annotations

import msgspec


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base class of data that is stored or sent to another process. It is immutable. Unknown fields are rejected.

    The garbage collector ignores such data, because a tree of immutable values has no cycle. With `gc=True`, the
    collector would visit all records of a table again and again.
    """
