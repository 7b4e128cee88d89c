"""docs/authors.md has the template as its example, and a row for every field, check and fixture."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from harness.authoring import scaffolding
from harness.contract.entries import WorkloadEntry
from harness.contract.workload import WorkloadFacts
from harness.plugins.signatures import SUBMISSION_METHODS, WORKLOAD_METHODS
from harness.testing import __all__ as TESTING_NAMES
from harness.testing import pytest_plugin
from harness.testing.submissions import SUBMISSION_CHECKS
from harness.testing.workloads import WORKLOAD_CHECKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "authors.md").read_text()
FIXTURES = ("bench_run", "bench_workload", "bench_registry")


def test_the_example_is_the_template(tmp_path: Path) -> None:
    scaffold = scaffolding.write_scaffold("workload", "my-task", tmp_path, single_file=True)
    assert f"```python\n{scaffold.path.read_text()}```\n" in PAGE


@pytest.mark.parametrize("field", [*WorkloadFacts.__struct_fields__, *WorkloadEntry.__struct_fields__])
def test_every_field_of_a_workload_is_explained(field: str) -> None:
    # The loader fills in the distribution.
    assert re.search(rf"`{field}`|[` (]{field}=", PAGE) or field == "distribution"


def test_every_required_field_has_a_row() -> None:
    table = PAGE.partition("required fields;")[2].partition("| optional field")[0]
    rows = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    required = {field.name for field in msgspec.structs.fields(WorkloadFacts) if field.required}
    assert set(rows) == required


def test_every_check_and_name_is_listed() -> None:
    for name in (*SUBMISSION_CHECKS, *WORKLOAD_CHECKS):
        assert f"| {name} |" in PAGE or f", {name} |" in PAGE, name
    for name in (*SUBMISSION_METHODS, *WORKLOAD_METHODS, *FIXTURES, *TESTING_NAMES):
        assert name in PAGE, name
    assert all(hasattr(pytest_plugin, name) for name in FIXTURES)
