"""The base class of the harness's plain data types."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

#: Maximum number of characters of the version of a workload, submission or ruleset.
MAX_VERSION = 100
#: A number of things, a size in bytes, or an index. A stored value that is negative or needs more than 64 bits is
#: damaged. Python reads integers of any size, and a table would fail at the first computation with such a value.
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
#: Like `Count`, but at least 1.
PositiveCount: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
#: An integer of 64 bits, which may be negative.
Integer64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
#: The version of a workload, submission or ruleset. `@` separates it from the name.
Version: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_VERSION, pattern=r"^[^@\x00-\x1f\x7f-\x9f]+\Z")
]


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base class of data that is stored or sent to another process. It is immutable. Unknown fields are rejected.

    The garbage collector ignores such data, because a tree of immutable values has no cycle. With `gc=True`, the
    collector would visit all records of a table again and again.
    """
