"""Convert an entry into the form that it has when it is read from the cache."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from harness.errors import PluginError
from harness.plugins.validation import Entry, validate_entry

_EntryT = TypeVar("_EntryT", bound=Entry)


def normalise(entry: Any, expected: type[_EntryT], origin: str) -> _EntryT:
    """Validate an entry, and return it with every field in its declared type, as the cache would return it.

    Args:
        entry: the entry.
        expected: the entry's type.
        origin: name of the hook or file that declares the entry, for messages.

    Raises:
        PluginError: a field has a wrong type, or the entry is invalid.
    """
    fix = f"correct the fields of this {expected.__name__}"
    try:
        # Decoding checks the types of the fields. The constructor of a struct does not check them.
        normalised = msgspec.json.decode(msgspec.json.encode(entry), type=expected)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        name = getattr(getattr(entry, "facts", entry), "name", None)
        raise PluginError(f"{origin}: {name!r}: {error}", fix=fix) from error
    if problems := validate_entry(normalised):
        raise PluginError(f"{origin}: {normalised.name!r}: {'; '.join(problems)}", fix=fix)
    return normalised
