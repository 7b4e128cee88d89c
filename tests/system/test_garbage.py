"""The pause of the garbage collector."""

from __future__ import annotations

import gc

import pytest

from harness.system.garbage import collections_paused


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_off_inside_and_as_before_afterwards(was_enabled: bool) -> None:
    (gc.enable if was_enabled else gc.disable)()
    try:
        with collections_paused():
            assert not gc.isenabled()
        assert gc.isenabled() is was_enabled
    finally:
        gc.enable()
