"""Let records share equal parts, so that thousands of records need little memory."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from harness.storage.derived import DerivedValue

D = TypeVar("D", bound=DerivedValue)
T = TypeVar("T")
#: Maximum number of different parts with the same name that are shared.
_MAX_VARIANTS = 20


class SharedParts:
    """The parts of the records read so far: workloads, submissions, rulesets and names of hardware classes."""

    def __init__(self) -> None:
        self._parts: dict[Hashable, list[object]] = {}

    def share(self, item: D) -> D:
        """Return a copy of a record or value. Parts that are equal to those of earlier items are the same objects."""
        spec = item.spec
        facts = spec.workload.facts
        shared_spec = replace(
            spec,
            workload=self._shared(("workload", facts.name, facts.version, spec.workload.load), spec.workload),
            submission=self._shared(
                ("submission", spec.submission.name, spec.submission.version, spec.submission.source_hash),
                spec.submission,
            ),
            ruleset=self._shared(("ruleset", spec.ruleset.name, spec.ruleset.version), spec.ruleset),
            hardware=self._shared(("hardware", spec.hardware), spec.hardware),
        )
        # The type of `replace` allows only structs, and a protocol cannot be one.
        shared_item: D = replace(cast(Any, item), spec=shared_spec)
        return shared_item

    def _shared(self, name: Hashable, part: T) -> T:
        variants = self._parts.setdefault(name, [])
        for variant in variants:
            if variant == part:
                return variant
        if len(variants) < _MAX_VARIANTS:
            variants.append(part)
        return part
