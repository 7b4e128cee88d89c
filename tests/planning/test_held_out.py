"""The seeds of held-out data: derived from the nonce alone, and unknown to the process that runs the submission."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from harness.contract.held_out import HeldOutSeeds
from harness.contract.run import Nonce, RunSpec
from harness.planning import rulesets
from harness.planning.seeds import expected_held_out, nonce_root, with_seeds, without_secrets
from harness.storage.layout import run_id
from tests import micro
from tests.helpers import spec_of, submission

NONCE = Nonce(value="ab" * 32, source="local")
MINE = submission("tests.submissions_for_tests:Sgd")


def planned(**settings: object) -> RunSpec:
    return spec_of(MINE, micro.REDRAWN_ENTRY, **settings)  # type: ignore[arg-type]


def held_out(spec: RunSpec) -> HeldOutSeeds:
    assert spec.held_out is not None
    return spec.held_out


def test_seeds_are_those_of_the_documented_formula() -> None:
    spec = planned(nonce=NONCE)
    root = nonce_root(NONCE, "micro-redrawn@1", 0)
    for split, seed in held_out(spec).by_split().items():
        assert seed == hashlib.sha256(f"{root}/micro-redrawn/0/held-out/{split}".encode()).hexdigest()
    assert len(set(held_out(spec).by_split().values())) == 3


def test_trials_of_a_study_share_their_data_and_nothing_else_does() -> None:
    spec = planned(nonce=NONCE)
    assert expected_held_out(msgspec.structs.replace(spec, trial=3)) == spec.held_out
    others = [
        msgspec.structs.replace(spec, study=1),
        msgspec.structs.replace(spec, purpose="tuning"),
        msgspec.structs.replace(spec, nonce=Nonce(value="cd" * 32, source="local")),
    ]
    assert len({spec.held_out, *map(expected_held_out, others)}) == 4


def test_without_a_nonce_nothing_changes() -> None:
    spec = planned()
    assert spec.held_out is None
    assert with_seeds(spec, redraws_held_out=True) == spec


def test_other_workloads_keep_their_data_and_run_ids() -> None:
    spec = spec_of(MINE, micro.ENTRY, nonce=NONCE)
    assert spec.held_out is None
    assert run_id(planned(nonce=NONCE)) != run_id(msgspec.structs.replace(planned(nonce=NONCE), held_out=None))


@pytest.mark.parametrize("evaluates", [False, True])
def test_a_worker_learns_neither_the_nonce_nor_the_audit_data(evaluates: bool) -> None:
    spec = planned(nonce=NONCE, ruleset=rulesets.ruleset("quick"))
    secrets = [NONCE.value, held_out(spec).audit, *([] if evaluates else [held_out(spec).score])]
    sent = msgspec.json.encode(without_secrets(spec, evaluates=evaluates)).decode()
    assert not [secret for secret in secrets if secret in sent]
    assert held_out(spec).feedback in sent
    assert (held_out(spec).score in sent) is evaluates
