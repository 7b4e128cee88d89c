"""The numbers of the report's page: rounding."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import page_runs

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(NUMBERS), st.integers(1, 8))
def test_listed_numbers_are_rounded_and_never_invalid_json(values: list[float], digits: int) -> None:
    def refuse(name: str) -> None:
        pytest.fail(f"{name} is not JSON")

    listed = json.loads(bytes(page_runs._listed(values, digits)), parse_constant=refuse)
    assert listed == [page_runs._rounded(value, digits) for value in values]


def test_whole_numbers_are_listed_without_a_point() -> None:
    listed = bytes(page_runs._listed([1000.0, -2.0, 0.5, math.nan, -math.inf], 6))
    assert listed == b"[1000,-2,0.5,null,null]"
    assert page_runs.decompress(page_runs.compress({"a": page_runs._listed([1e6, 1e-8], 6)})) == {"a": [1e6, 1e-8]}
