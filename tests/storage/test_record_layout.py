"""The text of a record file, with one line for each field and for each evaluation."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.storage.record_layout import format_record, remove_newlines

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["points", "content_hash", 'a"b\n']) | st.text(), _JSON, max_size=5))
def test_removing_the_newlines_undoes_the_layout(content: dict[str, object]) -> None:
    compact = msgspec.json.encode(content)
    text = format_record(compact)
    assert json.loads(text) == content
    assert remove_newlines(text) == (compact if content else None)


def test_every_evaluation_has_a_line() -> None:
    points = [{"steps": i, "metrics": {"loss": 1 / (i + 1)}} for i in range(3)]
    text = format_record(msgspec.json.encode({"points": points, "reason": "a\nb"})).decode()
    assert [json.loads(line.rstrip(",")) for line in text.splitlines()[2:5]] == points
    assert text.splitlines()[-2:] == ['"reason":"a\\nb"', "}"]


@pytest.mark.parametrize("text", [b'{\n "a": 1\n}\n', b'{"a":1}', b"", b"[]", b'{\n\n"a":1}'])
def test_other_layouts_are_told_apart(text: bytes) -> None:
    assert remove_newlines(text) is None


@pytest.mark.parametrize("text", [b"[1]", b"1", b'{"a":'])
def test_only_an_object_has_fields(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        format_record(text)
