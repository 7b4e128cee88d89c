"""The options that repeat a trial."""

from __future__ import annotations

import pytest

from harness.planning.commands import run_options
from tests.scoring.builders import facts, spec


@pytest.mark.parametrize(
    ("tier", "device", "expected"),
    [
        ("cpu", "cpu", []),
        ("cpu", "cuda", [["--device", "cuda"]]),
        ("gpu", "cuda", []),
        ("gpu", "cpu", [["--device", "cpu"], ["--allow-slow"]]),
    ],
)
def test_options_name_the_device_and_allow_a_gpu_workload_on_the_cpu(
    tier: str, device: str, expected: list[list[str]]
) -> None:
    options = run_options(spec(workload=facts(tier=tier), device=device), [])
    assert [option for option in options if option[0] in ("--device", "--allow-slow")] == expected
