"""The import of a submission takes at most 10 s of CPU time.

Forbidden: more than 10 s of CPU time for importing the submission and its parts and calling their `prepare()`.

Why: the clock is stopped during imports, since their time does not depend on the algorithm. A submission must not move
computation of the algorithm into the import. On a CPU, the time above 0.25 s is scored, because the runs of the tier
`cpu` take a few seconds.

Instead: compute in the constructor, where the clock runs, or import fewer or smaller libraries.
"""

from __future__ import annotations

from harness.errors import RejectedError
from harness.worker.rule import Rule

#: CPU seconds that the import of a submission may take.
IMPORT_LIMIT_S = 10.0


class ImportTime(Rule):
    """Checks the CPU seconds of the import."""

    def after_import(self, process_seconds: float) -> None:
        if process_seconds > IMPORT_LIMIT_S:
            raise RejectedError(
                f"importing the submission took {process_seconds:.1f} CPU seconds; the limit is {IMPORT_LIMIT_S:.0f}",
                fix="compute in the constructor, where the clock runs, or import smaller libraries",
            )
