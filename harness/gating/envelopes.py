"""Finds the envelopes of gate workloads, and makes provisional ones from runs of the reference on separate seeds."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.contract.envelope import EnvelopeHeader
from harness.contract.run import RunSpec
from harness.errors import DamagedError, StoreError
from harness.gating.setup import GateWorkload, Runner, gate_budget, plan_to_end
from harness.planning.internal_rulesets import GATE_RULESET
from harness.planning.references import EntryLookup, find_reference
from harness.scoring.final_metric import final_metric_name
from harness.scoring.gate_envelope import HORIZON_MULTIPLES, SEEDS, GateEnvelope, fit_envelope, from_calibration
from harness.storage.envelopes import ENVELOPES_FOLDER
from harness.storage.envelopes import read_envelope as read_calibrated_envelope
from harness.system.files import read_struct, write_atomically


def envelope_path(folder: Path, workload: GateWorkload) -> Path:
    """Return the path of a workload's envelope. The file name contains the gate budget if it is not the default."""
    name = workload.name.replace(":", "_")
    is_default_budget = workload.budget == gate_budget(workload.entry.facts)
    return folder / (f"{name}.json" if is_default_budget else f"{name}-{workload.budget}.json")


def find_envelope(folder: Path, workload: GateWorkload, calibrated: Path = ENVELOPES_FOLDER) -> GateEnvelope | None:
    """Return the envelope for a workload's version, metric and gate budget; None if it must be made.

    An envelope in `folder` comes first. Without one, the envelope of the calibration is used if it is for the same
    version, metric and budget.

    Args:
        folder: folder of the provisional envelopes.
        workload: workload and gate budget of the envelope.
        calibrated: folder of the envelopes of `bench calibrate WORKLOAD --envelope`.

    Raises:
        StoreError: the file of the workload is damaged.
    """
    if (provisional := read_envelope(folder, workload)) is not None:
        return provisional
    envelope = read_calibrated_envelope(calibrated, workload.name)
    return from_calibration(envelope) if envelope is not None and _fits(envelope, workload) else None


def read_envelope(folder: Path, workload: GateWorkload) -> GateEnvelope | None:
    """Return the stored provisional envelope of a workload; None if there is none for its version, metric and budget.

    Raises:
        StoreError: the file is damaged.
    """
    path = envelope_path(folder, workload)
    if not path.exists():
        return None
    try:
        envelope = read_struct(path, GateEnvelope)
    except DamagedError as error:
        fix = f"remove it, then run bench gate --envelope {workload.name}"
        raise StoreError(f"the envelope {error.what}", fix=fix) from None
    return envelope if _fits(envelope, workload) else None


def _fits(envelope: EnvelopeHeader, workload: GateWorkload) -> bool:
    """Return whether an envelope is for the version, the metric and the gate budget of a workload."""
    facts = workload.entry.facts
    expected = facts.id, final_metric_name(facts), workload.budget
    return (envelope.workload, envelope.metric, envelope.budget) == expected


def plan_envelope(
    workload: GateWorkload, registry: EntryLookup, *, seed: int = 0, threads: int = 1
) -> tuple[RunSpec, ...]:
    """Plan the runs for an envelope: the reference at four horizons around the gate budget, with three seeds each.

    Args:
        workload: workload and gate budget of the envelope.
        registry: source of the references and their parts.
        seed: root seed, from which all seeds are derived.
        threads: number of intra-op threads of a run.

    Returns:
        The specifications of the runs; empty if no reference can run on the workload.
    """
    reference = find_reference(workload.entry.facts, registry, GATE_RULESET)
    if reference is None:
        return ()
    return tuple(
        spec
        for horizon in envelope_horizons(workload)
        for spec in plan_to_end(
            workload,
            reference,
            registry,
            workload.settings(seed, threads),
            purpose="gate-envelope",
            studies=SEEDS,
            horizon=horizon,
        )
    )


def envelope_horizons(workload: GateWorkload) -> tuple[int, ...]:
    """Return the horizons of the envelope in examples, in increasing order.

    Each horizon is a multiple of the evaluation interval. On a stream, the number of examples in each stage is
    also a multiple of this interval.
    """
    facts = workload.entry.facts
    unit = facts.eval_every * max(1, len(facts.stages))
    return tuple(sorted({max(1, round(workload.budget * multiple / unit)) * unit for multiple in HORIZON_MULTIPLES}))


def make_envelope(folder: Path, workload: GateWorkload, specs: tuple[RunSpec, ...], run: Runner) -> GateEnvelope:
    """Run the reference, fit the envelope to its records, and write the envelope to its file.

    Args:
        folder: folder of the envelopes.
        workload: workload and gate budget of the envelope.
        specs: runs of the reference (see `plan_envelope`).
        run: function that runs specifications.

    Raises:
        UsageError: too few runs of the reference finished, or a larger budget does not improve the reference's metric.
    """
    envelope = fit_envelope(run(specs), workload.budget)
    path = envelope_path(folder, workload)
    path.parent.mkdir(parents=True, exist_ok=True)
    payload = msgspec.json.format(msgspec.json.encode(envelope, order="deterministic"), indent=1)
    write_atomically(path, payload + b"\n")
    return envelope
