"""Write docs/records.md: every field of a record, with its type, default and meaning.

usage: python -m tools.make_records            (a test fails if the page is stale)
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.base import MAX_VERSION
from harness.contract.entries import PartEntry, SubmissionEntry, WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import PartRef, SubmissionRef, WorkloadRef
from tools.docstrings import argument_texts, docstring_text
from tools.markdown import table_lines

PAGE = Path(__file__).resolve().parent.parent / "docs" / "records.md"
#: Type -> another type whose docstring describes fields of the same names.
DESCRIBED_BY: Mapping[type, type] = {
    PartRef: PartEntry,
    SubmissionRef: SubmissionEntry,
    WorkloadRef: WorkloadEntry,
}
#: Descriptions of fields that no docstring describes.
OTHER_DESCRIPTIONS = {"WorkloadRef.facts": "the workload as data"}
#: Name of a type with limits (see `harness.contract.base`) -> the type that the page shows. The head of the page states
#: the limits.
PLAIN_TYPES = {"Count": "int", "PositiveCount": "int", "Integer64": "int", "Version": "str"}
HEAD = f"""# Records

`python -m tools.make_records` generates this page from the data types. Do not edit it.

A record is the result of one trial, stored as one JSON object. `bench run` writes it to `RUNS/RUN_ID/record.json`, with
one line for each field and one line for each evaluation.
Published records are in `results/`, packed into compressed files, which `bench results unpack` unpacks.
`bench show RUN` prints the most important fields. `harness.load_results` reads records into a data frame.
`msgspec.json.decode(content, type=harness.api.Record)` converts a record to the types on this page.

The tables list all fields. A record with another field is refused. Later versions may add fields with defaults
([versions](versioning.md#records)). The terms are defined in the [glossary](glossary.md).

An integer is refused if it is negative or does not fit into 64 bits; only `root_seed` and `temperature_c` may be
negative. The number of ranks, threads or attempts is at least 1. A version has 1 to {MAX_VERSION} characters, no `@`
and no control character.
"""


def page() -> str:
    """Return the page as Markdown."""
    lines = [HEAD]
    for record_type in record_types():
        text = " ".join(docstring_text(record_type).split())
        lines += [f"## {record_type.__name__}", "", text, "", *table_lines(_HEADING, _rows(record_type)), ""]
    return "\n".join(lines).rstrip() + "\n"


_HEADING = ("field", "type", "default", "meaning")


def record_types() -> list[type[msgspec.Struct]]:
    """Return `Record` and the types of its fields, in the order of their first use."""
    ordered: list[type[msgspec.Struct]] = []
    waiting: list[type[msgspec.Struct]] = [Record]
    while waiting:
        current = waiting.pop(0)
        if current not in ordered:
            ordered.append(current)
            waiting += [found for hint in _hints(current).values() for found in _structs(hint)]
    return ordered


def field_texts(record_type: type[msgspec.Struct]) -> dict[str, str]:
    """Return the description of every field of a type; empty for a field that is not described."""
    texts = argument_texts(DESCRIBED_BY[record_type]) if record_type in DESCRIBED_BY else {}
    texts |= argument_texts(record_type)
    names = record_type.__struct_fields__
    return {name: texts.get(name) or OTHER_DESCRIPTIONS.get(f"{record_type.__name__}.{name}", "") for name in names}


def _rows(record_type: type[msgspec.Struct]) -> Iterator[tuple[str, str, str, str]]:
    texts, hints = field_texts(record_type), _hints(record_type)
    for field in msgspec.structs.fields(record_type):
        text = texts[field.name]
        text += _values_text(hints[field.name], text)
        yield f"`{field.name}`", _type_text(record_type, field.name), _default(field), text


def _values_text(hint: Any, text: str) -> str:
    """Return a sentence with the possible values of a field; "" if `text` contains all of them."""
    literals = [value for part in _parts(hint) if (value := _literals(part))]
    names = [f"`{value}`" for value in literals[0]] if literals else []
    if all(name in text for name in names):
        return ""
    return f" {'The keys are' if typing.get_origin(hint) is dict else 'One of'} {', '.join(names)}."


def _hints(record_type: type) -> dict[str, Any]:
    return typing.get_type_hints(record_type)


def _parts(hint: Any) -> Iterator[Any]:
    """Yield a type and the types of which it consists."""
    yield hint
    if typing.get_origin(hint) is not typing.Literal:
        for argument in typing.get_args(hint):
            yield from _parts(argument)


def _structs(hint: Any) -> list[type[msgspec.Struct]]:
    return [part for part in _parts(hint) if isinstance(part, type) and issubclass(part, msgspec.Struct)]


def _literals(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def _type_text(record_type: type, name: str) -> str:
    """Return the type of a field as in the source, with links to the types on this page."""
    annotation = next(base.__annotations__[name] for base in record_type.__mro__ if name in base.__annotations__)
    if "Literal[" in annotation:
        annotation = "str"
    annotation = re.sub(r"\w+", lambda name: PLAIN_TYPES.get(name[0], name[0]), annotation)
    known = {found.__name__ for found in _structs(_hints(record_type)[name])}
    links = [f"[{found}](#{found.lower()})" for found in re.findall(r"\w+", annotation) if found in known]
    return f"`{annotation}`" + (f" ({', '.join(links)})" if links and links[0][1:-1] != annotation else "")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "–"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    plain = value is None or isinstance(value, str | int | float | bool)
    return f"`{value!r}`" if plain else "empty" if not isinstance(value, msgspec.Struct) else "defaults"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
