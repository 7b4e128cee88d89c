"""Provisional envelopes of gate workloads: made from runs of the reference on seeds of their own, kept as JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.contract.run import RunSpec
from harness.errors import StoreError
from harness.gating.setup import GateWorkload, Offer, Runner, find_reference, gate_budget, plan_to_end
from harness.scoring.gate_envelope import SEEDS, SHARES, GateEnvelope, fit_envelope
from harness.system.files import write_atomically


def envelope_path(folder: Path, workload: GateWorkload) -> Path:
    """Where a workload's envelope lies; at another budget than the default one its name says which."""
    name = workload.name.replace(":", "_")
    usual = workload.budget == gate_budget(workload.entry.facts)
    return folder / (f"{name}.json" if usual else f"{name}-{workload.budget}.json")


def read_envelope(folder: Path, workload: GateWorkload) -> GateEnvelope | None:
    """The envelope of this workload's version, metric and budget; None where there is none.

    Raises:
        StoreError: the file is damaged.
    """
    path = envelope_path(folder, workload)
    if not path.is_file():
        return None
    try:
        envelope = msgspec.json.decode(path.read_bytes(), type=GateEnvelope)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"the envelope {path} is damaged: {error}", fix=f"remove it; bench gate --envelope {workload.name}"
        ) from None
    facts = workload.entry.facts
    wanted = facts.id, facts.targets[0].metric, workload.budget
    return envelope if (envelope.workload, envelope.metric, envelope.budget) == wanted else None


def plan_envelope(workload: GateWorkload, offer: Offer, *, seed: int = 0, threads: int = 1) -> tuple[RunSpec, ...]:
    """The reference at four horizons around the gate budget, three seeds each; empty where no reference can run.

    Args:
        offer: where references and parts are looked up.
        seed: root of all seeds.
        threads: intra-op threads of a run.
    """
    reference = find_reference(workload.entry.facts, offer)
    if reference is None:
        return ()
    return tuple(
        spec
        for horizon in envelope_horizons(workload)
        for spec in plan_to_end(
            workload,
            reference,
            offer,
            workload.settings(seed, threads),
            purpose="gate-envelope",
            studies=SEEDS,
            horizon=horizon,
        )
    )


def envelope_horizons(workload: GateWorkload) -> tuple[int, ...]:
    """Increasing, in examples, each a whole number of evaluations."""
    facts = workload.entry.facts
    unit = facts.eval_every * max(1, len(facts.stages))
    return tuple(sorted({max(1, round(workload.budget * share / unit)) * unit for share in SHARES}))


def make_envelope(folder: Path, workload: GateWorkload, specs: tuple[RunSpec, ...], run: Runner) -> GateEnvelope:
    """Run the reference where its runs are missing, fit the envelope and write it.

    Raises:
        UsageError: the reference's runs broke, or it gets no better with a longer budget.
    """
    envelope = fit_envelope(run(specs), workload.budget)
    path = envelope_path(folder, workload)
    path.parent.mkdir(parents=True, exist_ok=True)
    payload = msgspec.json.format(msgspec.json.encode(envelope, order="deterministic"), indent=1)
    write_atomically(path, payload + b"\n")
    return envelope
