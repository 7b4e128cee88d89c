"""The text of a record file: JSON with one line for each field, and one line for each evaluation.

>>> print(format_record(b'{"hit":null,"points":[{"steps":0},{"steps":9}]}').decode(), end="")
{
"hit":null,
"points":[
{"steps":0},
{"steps":9}
]
}

Removing the newlines gives the JSON without white space, from which the content hash is computed. Records of earlier
versions are indented, with one line for each value.
"""

from __future__ import annotations

import msgspec

_POINTS = "points"


def format_record(compact: bytes) -> bytes:
    """Return the text of the file of a record.

    Args:
        compact: the record as JSON without white space.

    Raises:
        msgspec.DecodeError: the argument is not a JSON object.
    """
    fields = msgspec.json.decode(compact, type=dict[str, msgspec.Raw])
    lines = [msgspec.json.encode(name) + b":" + _format_value(name, value) for name, value in fields.items()]
    return b"{\n" + b",\n".join(lines) + b"\n}\n"


def _format_value(name: str, value: msgspec.Raw) -> bytes:
    encoded = bytes(value)
    is_array = name == _POINTS and encoded.startswith(b"[")
    points = msgspec.json.decode(encoded, type=list[msgspec.Raw]) if is_array else []
    return b"[\n" + b",\n".join(map(bytes, points)) + b"\n]" if points else encoded


def remove_newlines(content: bytes) -> bytes | None:
    """Return the JSON of a record file without its newlines; None if the text does not have this layout.

    Strings in JSON contain no newline characters, so the result has the same values.

    Args:
        content: the text of a record file.
    """
    return content.replace(b"\n", b"") if content.startswith(b'{\n"') else None
