"""Find the rows of a table that belong to one family: one method with several settings.

Two submissions are one method if they consist of the same code: the same class or parts, from the same source. They may
differ in their settings: search spaces, defaults, model options, and hyperparameters that a user sets.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from harness.contract.run import SubmissionRef

#: `name@version` of a submission -> what identifies its code.
FamilyKeys: TypeAlias = Mapping[str, Hashable]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFamily:
    """The family of a row.

    Args:
        name: name of the family: the name of one of its submissions, the first in alphabetical order.
        settings: number of rows of the family.
        is_best: whether the row is the first row of the family in the table, and therefore the best one.
        low: smallest finite value among the rows of the family; nan if there is no finite value.
        high: largest finite value among the rows of the family; nan if there is no finite value.
        missed: number of rows of the family without a finite value.
    """

    name: str
    settings: int
    is_best: bool
    low: float
    high: float
    missed: int = 0


def family_keys(submissions: Iterable[SubmissionRef]) -> FamilyKeys:
    """Return what identifies the code of each submission, by `name@version`.

    A submission that names neither a class nor parts is a family of its own, because its code is unknown.
    """
    keys: dict[str, Hashable] = {}
    # Thousands of runs refer to a few submissions.
    for ref in {ref.id: ref for ref in submissions}.values():
        # Only the name of a file is used, because its path differs between machines.
        load = (ref.load or "").rpartition("/")[2]
        loads = (load, *sorted(f"{part.kind}:{part.load}" for part in ref.parts))
        keys[ref.id] = (loads, ref.source_hash) if ref.load or ref.parts else ref.id
    return keys


def find_families(submissions: Sequence[str], values: Sequence[float], keys: FamilyKeys) -> list[RowFamily | None]:
    """Return the family of each row; None for a row that is the only one of its family.

    Args:
        submissions: `name@version` of each row, the best row first.
        values: the compared value of each row; infinite for a miss, nan if there is no value.
        keys: see `family_keys`.

    >>> families = find_families(["b@1", "c@1", "a@1"], [1, 2, 3], {"b@1": 0, "a@1": 0})
    >>> [family and (family.name, family.is_best, family.high) for family in families]
    [('a', True, 3), None, ('a', False, 3)]
    """
    members: dict[Hashable, list[int]] = {}
    for index, submission in enumerate(submissions):
        members.setdefault(keys.get(submission, submission), []).append(index)
    families: list[RowFamily | None] = [None] * len(submissions)
    for indices in members.values():
        if len(indices) == 1:
            continue
        finite = [values[index] for index in indices if math.isfinite(values[index])]
        for index in indices:
            families[index] = RowFamily(
                name=min(submissions[member].rpartition("@")[0] for member in indices),
                settings=len(indices),
                is_best=index == indices[0],
                low=min(finite, default=math.nan),
                high=max(finite, default=math.nan),
                missed=len(indices) - len(finite),
            )
    return families
