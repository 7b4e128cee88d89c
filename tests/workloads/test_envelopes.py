"""Stored envelopes belong to the versions of the workloads, and are what their records say."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.calibration.envelopes import holds
from harness.contract.envelope import ReferenceEnvelope
from harness.planning.internal_rulesets import ENVELOPE_RULESET
from harness.plugins.registry import load_registry
from harness.scoring.final_metric import final_metric, final_metric_name
from harness.storage.envelopes import ENVELOPES_FOLDER, envelope_file, read_envelopes
from harness.storage.layout import file_stem
from harness.storage.records import read_all

ROOT = Path(__file__).resolve().parents[2]
ENVELOPES = read_envelopes(ROOT / ENVELOPES_FOLDER)


@pytest.mark.parametrize("envelope", ENVELOPES.values(), ids=list(ENVELOPES))
def test_an_envelope_is_what_its_records_say(envelope: ReferenceEnvelope) -> None:
    facts = load_registry().workload(envelope.workload.rpartition("@")[0]).facts
    assert (envelope.workload, envelope.metric, envelope.budget) == (
        facts.id, final_metric_name(facts), facts.budget.horizon,
    )  # fmt: skip
    assert envelope_file(ROOT / ENVELOPES_FOLDER, facts.name).is_file()
    assert envelope.seeds >= ENVELOPE_RULESET.studies
    assert len(envelope.horizons) >= 6
    assert 2 * envelope.horizons[0].examples <= envelope.budget <= envelope.horizons[-1].examples / 2
    assert holds(envelope)
    folder = ROOT / "calibration" / "runs" / file_stem(facts.name) / envelope.reference.rpartition("@")[0]
    records, problems = read_all([folder])
    assert not problems
    by_id = {record.run_id: record for record in records}
    assert set(envelope.tuning) <= set(by_id)
    for horizon in envelope.horizons:
        runs = [by_id[run] for run in horizon.runs]
        assert tuple(final_metric(run).value for run in runs) == horizon.metrics
        assert {run.spec.stop for run in runs} == {horizon.examples}
        assert all(run.spec.hparams == horizon.hparams and run.spec.purpose == "envelope" for run in runs)
    assert tuple(final_metric(by_id[run]).value for run in envelope.check_runs) == envelope.checks
