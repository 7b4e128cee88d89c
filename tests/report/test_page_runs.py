"""The numbers of the report's page: rounding, and medians over runs of different lengths."""

from __future__ import annotations

import json
import math

import numpy as np
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


@given(st.data())
def test_column_medians_are_those_of_numpy(data: st.DataObject) -> None:
    """The columns of runs of different lengths end with NaN, and a NaN may be at any place."""
    shape = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 4)))
    number = st.one_of(st.just(math.nan), st.floats(-1e9, 1e9))
    values = data.draw(st.lists(number, min_size=math.prod(shape), max_size=math.prod(shape)))
    rows = np.array(values).reshape(shape)
    rows[0, np.isnan(rows).all(axis=0)] = 1.0
    assert page_runs._column_medians(rows) == pytest.approx(np.nanmedian(rows, axis=0), rel=1e-15, abs=1e-300)
