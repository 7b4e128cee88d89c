"""Repeat the run of a record, or test records on fresh seeds, within a time limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Final, Literal, TypeAlias

from harness.contract.attestation import Attestation, AttestationOutcome
from harness.contract.record import Record
from harness.contract.run import Nonce, RunSpec
from harness.contract.sandbox import NO_SANDBOX, weaker_sandbox
from harness.errors import BenchError, UsageError
from harness.scoring.trust import has_public_seeds
from harness.verification.attesting import add_machine_fields
from harness.verification.fresh_seeds import FreshVerdict, StatedResult, judge_differences
from harness.verification.repetition import (
    find_environment_difference,
    list_repetition_differences,
    repeated_spec,
    require_source,
)
from harness.verification.seeds import find_held_out_problem
from harness.verification.workloads import Workloads, with_installed_workload

#: Function that runs specifications from the start and returns the records in the same order.
Runner: TypeAlias = Callable[[Sequence[RunSpec]], Sequence[Record]]
#: `exact`: repeat the run with its own seeds.
#: `fresh-seeds`: test the result of the run with other seeds.
#: `auto`: first `exact`, if this machine can repeat the run exactly. Then `fresh-seeds`, unless the exact repetition
#: refuted the record, or confirmed a record with seeds from a public beacon.
RerunMethod = Literal["auto", "exact", "fresh-seeds"]
#: Largest number of fresh seeds.
MAX_SEEDS: Final = 40


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """Repeats runs, and tests the results that records state on fresh seeds, within a time limit.

    Args:
        run: function that runs specifications.
        request_nonce: function that returns a nonce that was drawn now.
        report: function that receives a line for the user.
        method: how records are repeated.
        minutes: limit in wall minutes. The exact repetition and the first runs on fresh seeds always start. Later runs
            start only if they will probably end in this time.
        at_once: number of seeds that run between two tests of the stated results.
        clock: function that returns wall seconds.
        redrawing: `name@version` of the workloads that draw their held-out data afresh in runs with a nonce.
        usable: the workloads whose code may run. Records of other workloads are not repeated.
        part_loads: import paths of the installed parts. Submissions with other parts are not run.
    """

    run: Runner
    request_nonce: Callable[[], Nonce]
    report: Callable[[str], None]
    method: RerunMethod = "auto"
    minutes: float = 10.0
    at_once: int = 2
    clock: Callable[[], float] = time.monotonic
    redrawing: Collection[str] = ()
    usable: Workloads = field(default_factory=dict)
    part_loads: Collection[str] = ()

    def repeat_record(self, record: Record) -> Iterator[Attestation]:
        """Repeat a run exactly, test its result on fresh seeds, or both. Yield an attestation for each of these checks.

        Raises:
            UsageError: the installed source or workload differs from the record's, the run has not ended, its held-out
                data do not follow from its nonce, or the method cannot be used.
        """
        if record.status == "interrupted":
            raise UsageError(f"{record.run_id} has not ended", fix="resume it with the command that started it")
        require_source(record.spec, self.part_loads)
        with_installed_workload(record.spec, self.usable)
        if problem := find_held_out_problem(record.spec, self.redrawing):
            raise UsageError(f"{record.run_id} is not repeated: {problem}", fix="check the record with bench verify")
        deadline = self.clock() + self.minutes * 60
        environment_difference = find_environment_difference(record)
        if self.method == "exact" and environment_difference:
            raise UsageError(
                f"this machine cannot repeat {record.run_id} exactly: {environment_difference}",
                fix="use --method fresh-seeds",
            )
        if self.method != "fresh-seeds" and not environment_difference:
            exact = self._repeat_exactly(record)
            yield exact
            if exact.outcome == "refuted" or self.method == "exact" or has_public_seeds(record):
                return
        elif environment_difference:
            self.report(f"not repeated exactly: {environment_difference}")
        stated = StatedResult(records=(record,))
        if not stated.problem:
            yield from self._test_fresh_seeds([stated], self.request_nonce(), deadline)
        elif self.method == "fresh-seeds" or environment_difference:
            raise UsageError(
                f"{record.run_id} cannot be tested on fresh seeds: {stated.problem}",
                fix="check the record with bench verify",
            )
        else:
            self.report(f"not tested on fresh seeds: {stated.problem}")

    def test_results(self, stated_results: Sequence[StatedResult], nonce: Nonce) -> Iterator[Attestation]:
        """Test stated results together on fresh seeds, and yield an attestation for each of their records.

        Raises:
            UsageError: the installed source or workload differs from that of the records.
        """
        for stated in stated_results:
            require_source(stated.spec, self.part_loads)
            with_installed_workload(stated.spec, self.usable)
        yield from self._test_fresh_seeds(stated_results, nonce, self.clock() + self.minutes * 60)

    def _repeat_exactly(self, record: Record) -> Attestation:
        self.report(f"repeating {record.run_id} with its seeds")
        repeated = self._run_all([repeated_spec(record)])[0]
        differences = list_repetition_differences(record, repeated)
        detail = "; ".join(differences[:3]) or "points and weights are equal"
        outcome: AttestationOutcome = "refuted" if differences else "accepted"
        return self._attest(record, "exact", outcome, detail, sandbox=repeated.sandbox)

    def _test_fresh_seeds(
        self, stated_results: Sequence[StatedResult], nonce: Nonce, deadline: float
    ) -> Iterator[Attestation]:
        """Run fresh seeds until the outcome is decided, or a limit is reached. Then attest each record."""
        differences: dict[str, list[float]] = {stated.workload: [] for stated in stated_results}
        verdict: FreshVerdict | None = None
        slowest, seed_count = 0.0, 0
        sandboxes: list[str] = []
        while seed_count < MAX_SEEDS and (verdict is None or verdict.outcome == "undecided"):
            began = self.clock()
            if seed_count and began + slowest > deadline:
                break
            indices = range(seed_count, seed_count + self.at_once)
            specs = [stated.fresh_spec(nonce, index, self.redrawing) for index in indices for stated in stated_results]
            for stated, record in zip(list(stated_results) * len(indices), self._run_all(specs), strict=True):
                # The difference is that of the run from the stated result. It is negative if the run is worse.
                differences[stated.workload].append(stated.difference(record))
                sandboxes.append(record.sandbox)
            seed_count += len(indices)
            slowest = max(slowest, self.clock() - began)
            verdict = judge_differences(differences)
            self.report(verdict.detail())
        assert verdict is not None
        runs = seed_count * len(stated_results)
        estimate = verdict.estimate if math.isfinite(verdict.estimate) else None
        for record in (record for stated in stated_results for record in stated.records):
            yield self._attest(
                record,
                "fresh-seeds",
                verdict.outcome,
                verdict.detail(),
                sandbox=reduce(weaker_sandbox, sandboxes),
                nonce=nonce,
                runs=runs,
                estimate=estimate,
            )

    def _run_all(self, specs: Sequence[RunSpec]) -> Sequence[Record]:
        # The code that runs is that of the installed workloads. A record must not choose what is imported.
        records = self.run([with_installed_workload(spec, self.usable) for spec in specs])
        for record in records:
            if record.status == "interrupted":
                raise BenchError(f"{record.run_id} was interrupted", fix="repeat the command")
        return records

    def _attest(
        self,
        record: Record,
        method: Literal["exact", "fresh-seeds"],
        outcome: AttestationOutcome,
        detail: str,
        *,
        sandbox: str,
        nonce: Nonce | None = None,
        runs: int = 1,
        estimate: float | None = None,
    ) -> Attestation:
        attestation = Attestation(
            record=record.content_hash,
            run_id=record.run_id,
            method=method,
            outcome=outcome,
            detail=detail,
            source_hash=record.spec.submission.source_hash,
            nonce=nonce,
            runs=runs,
            estimate=estimate,
            sandbox=sandbox or NO_SANDBOX,
        )
        return add_machine_fields(attestation, record.spec.device, record.spec.threads, record.spec.ranks)
