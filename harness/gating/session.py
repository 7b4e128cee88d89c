"""The steps of `bench gate`: resolve names, make missing envelopes, and run a single gate or a gate of a series."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from harness.contract.domains import HParams
from harness.contract.entries import SubmissionEntry
from harness.contract.record import Record
from harness.contract.run import Purpose, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import UsageError
from harness.execution.run_trials import run_trials
from harness.execution.trial import finished_summary
from harness.gating.costs import GateCosts
from harness.gating.envelopes import envelope_path, find_envelope, make_envelope, plan_envelope
from harness.gating.gate import MOST_PAIRS, GateLimits, GateProgress, GateResult, run_gate
from harness.gating.series import (
    SEEDS_PER_CANDIDATE,
    SeriesCandidate,
    SeriesFile,
    SeriesLog,
    SeriesPosition,
    SeriesWorkloads,
    check_same_envelopes,
    check_same_series,
    hash_envelopes,
    hash_source,
    stored_settings,
)
from harness.gating.setup import GateOptions, GateSetup, GateWorkload, Runner, default_workloads, gate_budget
from harness.planning.internal_rulesets import GATE_RULESET
from harness.planning.references import find_reference
from harness.planning.requirements import runnable_workloads
from harness.planning.resolve import resolve_submission
from harness.plugins.registry import Registry
from harness.scoring.gate_envelope import GateEnvelope
from harness.storage.layout import run_id

#: Reason why the confirmation of a candidate compares metrics.
BY_METRIC = "the candidate was gated without an envelope"


@dataclass(frozen=True, kw_only=True)
class GateEnding:
    """A gate that has ended.

    Args:
        result: result of the gate.
        fallback: reason for comparing log metrics instead of compute multipliers; empty if multipliers were compared.
        position: the candidate and its position in the series; None outside a series.
        log: content of the series after the gate; None outside a series.
    """

    result: GateResult
    fallback: str
    position: SeriesPosition | None = None
    log: SeriesLog | None = None


class GateSession:
    """Plans and runs gates.

    Args:
        registry: registry of the plugins.
        options: options for planning and running trials.
        watch: function that takes a label and a number of trials, and returns a context manager. The context manager
            provides the watcher that shows the progress of the trials.
        note: function that prints a line about the next runs and their estimated cost.
        on_pair: function that is called after every pair.
        run: function that replaces `run_trials` in tests; None for `run_trials`.
        clock: function that returns wall seconds.
    """

    def __init__(
        self,
        registry: Registry,
        options: GateOptions,
        *,
        watch: Callable[[str, int], AbstractContextManager[Watcher]],
        note: Callable[[str], None],
        on_pair: Callable[[GateProgress], None],
        run: Runner | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry, self._options = registry, options
        self._watch, self._note, self._on_pair = watch, note, on_pair
        self._run, self._clock = run, clock

    # --- setup -------------------------------------------------------------------------------------

    def setup(
        self,
        a: str,
        b: str | None,
        workloads: Sequence[str],
        *,
        budget: int | None = None,
        purpose: Purpose = "gate",
        first_study: int = 0,
    ) -> GateSetup:
        """Return the gate of two named submissions, and check that the gate can run.

        Args:
            a: name or path of the candidate.
            b: name or path of the submission compared with `a`; None for the reference of the first workload.
            workloads: names of the workloads; empty for the default workloads (see `default_workloads`).
            budget: gate budget in examples; None for the default of each workload (see `gate_budget`).
            purpose: purpose of the runs, which determines their seeds.
            first_study: number of the first pair's seed.

        Raises:
            UsageError: a name is unknown, or a submission cannot run on one of the workloads.
            DataError: a workload lacks its data.
        """
        chosen = self.workloads(workloads, budget)
        entry_b = resolve_submission(b, self._registry) if b else self._reference(chosen[0])
        entry_a = resolve_submission(a, self._registry)
        return self.setup_entries(entry_a, entry_b, chosen, purpose=purpose, first_study=first_study)

    def setup_entries(
        self,
        a: SubmissionEntry,
        b: SubmissionEntry,
        workloads: tuple[GateWorkload, ...],
        *,
        purpose: Purpose = "gate",
        first_study: int = 0,
    ) -> GateSetup:
        """Return the gate of two submissions, and check that it can run. For the arguments, see `setup`.

        Raises:
            UsageError: a submission cannot run on one of the workloads.
        """
        setup = GateSetup(
            a=a,
            b=b,
            workloads=workloads,
            registry=self._registry,
            seed=self._options.seed,
            threads=self._options.threads,
            purpose=purpose,
            first_study=first_study,
            best_settings=self._options.best_settings,
        )
        setup.check()
        return setup

    def workloads(self, names: Sequence[str], budget: int | None) -> tuple[GateWorkload, ...]:
        """Return workloads with their devices and gate budgets.

        Args:
            names: names of the workloads; empty for the default workloads (see `default_workloads`).
            budget: gate budget in examples; None for the default of each workload (see `gate_budget`).

        Raises:
            UsageError: a name is unknown, or there are no default workloads.
            DataError: a workload lacks its data.
        """
        options, skipped = self._options, list[str]()
        workload_names = names or default_workloads(self._registry.workloads())
        if not workload_names:
            raise UsageError(
                "no workload was named, and no installed workload is a default workload of gates",
                fix="name a workload with -w",
            )
        chosen = tuple(
            GateWorkload(entry=entry, device=device, budget=gate_budget(entry.facts, budget))
            for entry, device in runnable_workloads(
                workload_names, self._registry, options.device, options.allow_slow, skipped
            )
        )
        for line in skipped:
            self._note(line)
        return chosen

    def _reference(self, workload: GateWorkload) -> SubmissionEntry:
        reference = find_reference(workload.entry.facts, self._registry, GATE_RULESET)
        if reference is None:
            raise UsageError(f"no reference can run on {workload.name}", fix="name a submission with --against")
        return reference

    # --- envelopes ----------------------------------------------------------------------------------

    def envelopes(self, setup: GateSetup) -> tuple[Mapping[str, GateEnvelope], str]:
        """Return workload -> envelope, and the reason if envelopes cannot be used.

        Missing envelopes are made. If this fails for a workload, the mapping is empty, and the reason says why. If all
        envelopes exist, the reason is empty.
        """
        if not self._options.use_envelope:
            return {}, "--no-envelope was given"
        envelopes = {}
        for workload in setup.workloads:
            try:
                envelope = self.envelope(workload)
            except UsageError as error:
                return {}, f"{workload.name} has no envelope: {error.what}"
            if envelope is None:
                return {}, f"{workload.name} has no envelope: no reference can run on it"
            envelopes[workload.name] = envelope
        return envelopes, ""

    def envelope(self, workload: GateWorkload) -> GateEnvelope | None:
        """Return the envelope of a workload. Make the envelope if it is missing.

        The result is None if no reference can run on the workload.

        Raises:
            UsageError: the envelope cannot be made from the reference's runs.
        """
        folder, options = self._options.envelopes, self._options
        specs = plan_envelope(workload, self._registry, seed=options.seed, threads=options.threads)
        envelope = find_envelope(folder, workload)
        if envelope is not None:
            if specs and envelope.hardware != specs[0].hardware:
                self._note(f"{workload.name}: its envelope was made on {envelope.hardware}")
            return envelope
        if not specs:
            return None
        missing = [spec for spec in specs if not self.is_finished(spec)]
        self._note(
            f"{workload.name}: no envelope in {envelope_path(folder, workload)}; it is made once from {len(specs)} "
            f"runs of {specs[0].submission.name}, of which {len(missing)} are missing: {self.cost(missing)}"
        )
        return make_envelope(folder, workload, specs, lambda runs: self.run(runs, f"envelope of {workload.name}"))

    # --- gates --------------------------------------------------------------------------------------

    def gate(self, setup: GateSetup, limits: GateLimits) -> GateEnding:
        """Make missing envelopes, and run a gate until it has a verdict or reaches a limit."""
        started = self._clock()
        return self._gate(setup, limits, *self.envelopes(setup), started)

    def _gate(
        self, setup: GateSetup, limits: GateLimits, envelopes: Mapping[str, GateEnvelope], fallback: str, started: float
    ) -> GateEnding:
        specs = [spec for _, spec in setup.plan_pair(0)]
        budgets = ", ".join(f"{w.name} to {w.budget:,} examples" for w in setup.workloads)
        self._note(f"gate: {setup.a.name} (A) against {setup.b.name} (B), {budgets}; a pair: {self.cost(specs)}")
        result = run_gate(
            setup,
            limits,
            envelopes,
            self.run,
            is_finished=self.is_finished,
            on_pair=self._on_pair,
            clock=self._clock,
            started=started,
        )
        return GateEnding(result=result, fallback=fallback)

    def gate_in_series(
        self, file: SeriesFile, a: str, b: str | None, workloads: Sequence[str], limits: GateLimits
    ) -> GateEnding:
        """Gate the next candidate of a series, or continue the gate of the open candidate.

        Args:
            file: file of the series.
            a: name or path of the candidate.
            b: name or path of the submission compared with `a`; None for the reference of the first workload.
            workloads: names of the workloads; empty for the default workloads.
            limits: limits of the gate. Their alpha is the bound of the series' false discovery rate.

        Raises:
            UsageError: the series was begun with another `--alpha`, `--min-effect`, `--seed` or `--by`, or the gate of
                the candidate with other envelopes.
            StoreError: another gate of the series is running.
        """
        started = self._clock()
        setup = self.setup(a, b, workloads, budget=self._options.budget)
        planned = {side: spec.submission for side, spec in setup.plan_pair(0)}
        known_a, known_b = self._known_settings(setup.a, setup), self._known_settings(setup.b, setup)
        with file.locked():
            new = SeriesLog(alpha=limits.alpha, min_effect=limits.min_effect, seed=self._options.seed, by=limits.by)
            log = file.read() or new
            check_same_series(file, log, new)
            envelopes, fallback = self.envelopes(setup)
            gated_on = SeriesWorkloads(
                ids=tuple(f"{w.entry.facts.id}:{w.budget}" for w in setup.workloads),
                names=tuple(workloads),
                budget=self._options.budget,
                envelopes=hash_envelopes(envelopes),
            )
            log, position = file.begin(
                log, (a, planned["A"], known_a), (b or setup.b.name, planned["B"], known_b), gated_on
            )
            # A candidate that is not open has a verdict. Its gate is evaluated again from all stored pairs, without the
            # `max_pairs` of this call, so that the verdict is the same.
            max_pairs = limits.max_pairs if position.candidate.open else MOST_PAIRS
            ending = self._gate(
                replace(setup, first_study=position.first_study),
                replace(limits, alpha=position.candidate.level, max_pairs=max_pairs),
                envelopes,
                fallback,
                started,
            )
            if position.candidate.open:
                log = file.end(log, position, ending.result.outcome)
        return replace(ending, position=position, log=log)

    def confirm(self, file: SeriesFile, limits: GateLimits) -> list[tuple[int, SeriesCandidate, GateEnding]]:
        """Gate every kept candidate of a series against the original, on seeds that no gate has used.

        The compared quantity, the envelopes, the smallest effect, the root seed and the hyperparameters are those of
        the series.
        The original is the submission B of the series' first candidate. The series is not locked: its file is replaced
        atomically, this method does not write it, and the outcome of a kept candidate never changes.

        Returns:
            For each kept candidate its number, the candidate, and the gate that confirms or refutes it.

        Raises:
            UsageError: the series does not exist, or a submission or an envelope differs from that of the gate.
        """
        log = file.read()
        if log is None:
            raise UsageError(
                f"there is no series in {file.path}", fix=f"begin it with bench gate A --series {file.name}"
            )
        endings = []
        for number, candidate in enumerate(log.candidates, start=1):
            if not candidate.kept:
                continue
            original = log.candidates[0].b
            setup = self.setup(
                file.spelling(candidate.a),
                file.spelling(original),
                candidate.names,
                budget=candidate.budget,
                purpose="confirm",
                first_study=number * SEEDS_PER_CANDIDATE,
            )
            setup = replace(setup, seed=log.seed, best_settings=stored_settings(setup.a, candidate, original))
            for side, spec in setup.plan_pair(0):
                recorded = candidate.a if side == "A" else original
                if hash_source(spec.submission) != recorded.source:
                    raise UsageError(
                        f"candidate {number} of {file.name}: {recorded.asked} is not the source that was gated",
                        fix=f"restore {file.spelling(recorded)}",
                    )
            asked = replace(limits, alpha=log.alpha, by=log.by, min_effect=log.min_effect)
            started = self._clock()
            # A candidate that was gated by its metric is also confirmed by it, without --no-envelope.
            envelopes, fallback = self.envelopes(setup) if candidate.envelopes != {} else ({}, BY_METRIC)
            check_same_envelopes(file.name, number, candidate, hash_envelopes(envelopes))
            endings.append((number, candidate, self._gate(setup, asked, envelopes, fallback, started)))
        return endings

    def _known_settings(self, entry: SubmissionEntry, setup: GateSetup) -> dict[str, HParams]:
        """Return the best known values of a submission's hyperparameters, by the name of the workload."""
        if self._options.best_settings is None:
            return {}
        known = {w.name: dict(self._options.best_settings(entry, w.entry)) for w in setup.workloads}
        return {name: values for name, values in known.items() if values}

    # --- runs ---------------------------------------------------------------------------------------

    def run(self, specs: Sequence[RunSpec], label: str = "") -> list[Record]:
        """Return the records of runs, in the order of the specifications; finished runs are not repeated.

        Args:
            specs: specifications of the runs.
            label: label of the runs for the watcher.
        """
        if self._run is not None:
            return list(self._run(specs))
        records = {}
        with self._watch(label, len(specs)) as watcher:
            for record in run_trials(
                specs,
                self._options.runs,
                executor=self._options.executor,
                options=self._options.execution,
                watcher=watcher,
                registry=self._registry,
            ):
                records[record.run_id] = record
        return [records[run_id(spec)] for spec in specs]

    def is_finished(self, spec: RunSpec) -> bool:
        """Return whether a run finished in a previous call."""
        return finished_summary(spec, run_id(spec), self._options.runs, self._options.execution) is not None

    def cost(self, specs: Sequence[RunSpec]) -> str:
        """Return the estimated wall time of runs in words, for runs that are executed one after the other."""
        return GateCosts([self._options.runs, Path("results")]).describe(specs)
