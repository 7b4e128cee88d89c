"""Lucky seeds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.contract.held_out import HeldOutSeeds
from harness.contract.run import Nonce
from harness.planning.nonces import request_nonce
from harness.planning.seeds import with_seeds
from harness.system.beacon import QUICKNET
from harness.verification import repetition
from harness.verification.checks import VerificationOptions
from tests.cheats.threats import threat
from tests.planning.test_nonces import OFFLINE
from tests.verification.forging import change, failure, findings_of, honest, with_spec
from tests.verification.test_rerun import at_hand, rerun, summary


@threat(
    way="tries many root seeds, and publishes the luckiest run",
    verdict="made useless",
    by="`bench rerun` compares the record with runs on fresh seeds and refutes it; its level is then *self-reported*",
)
def test_lucky_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repetition, "source_hash", lambda loads: "f" * 64)
    monkeypatch.setattr("harness.verification.rerun.find_environment_difference", lambda record: "")
    record = at_hand(honest())
    usual = (1.25, 1.4, 1.3, 1.28, 1.35, 1.31)
    made = list(rerun(record, lambda study: usual[study % 6]).repeat_record(record))
    assert summary(made)[-1] == ("fresh-seeds", "refuted")


@threat(
    way="writes seeds into a record that do not follow from its root seed",
    verdict="caught",
    by="check *seeds* of `bench verify`",
)
def test_other_seeds() -> None:
    record = honest()
    forged = with_spec(record, seeds=change(record.spec.seeds, model=record.spec.seeds.model + 1))
    assert "seed" in failure(forged, "seeds")


@threat(
    way="runs with a nonce, but without the held-out seeds that follow from it. The run then has the usual held-out "
    "data, which the submission contains",
    verdict="caught",
    by="check *seeds*; `bench rerun` refuses to repeat such a record",
)
def test_usual_held_out_data() -> None:
    spec = change(honest().spec, nonce=Nonce(value="ab" * 32, source="local"))
    options = VerificationOptions(judge=None, redrawing={spec.workload.facts.id})
    details = []
    for redraws in (False, True):
        record = change(honest(), spec=with_seeds(spec, redraws_held_out=redraws))
        finding = findings_of(record, options=options)[0].finding("seeds")
        assert finding is not None
        details.append(finding.detail)
    assert "usual held-out data" in details[0]
    assert details[1] == ""
    held_out = HeldOutSeeds(feedback="0" * 64, score="0" * 64, audit="0" * 64)
    assert "held-out data do not follow" in failure(with_spec(honest(), held_out=held_out), "seeds")


@threat(
    way="invents a round of the beacon with favourable randomness",
    verdict="caught",
    by="check *seeds*: the randomness of a round is the hash of the network's signature (extra `beacon`); with "
    "`--online` the round is read again",
)
def test_invented_round() -> None:
    record, signature = honest(), "cd" * 48
    randomness = hashlib.sha256(bytes.fromhex(signature)).hexdigest()
    for value, problem in (("ab" * 32, "SHA-256 of its signature"), (randomness, "not that of the network")):
        nonce = Nonce(value=value, source="beacon", chain=QUICKNET.hash, round=1_000_000, signature=signature)
        assert problem in failure(with_spec(record, nonce=nonce), "seeds")


@threat(
    way="requests nonces again and again until one is favourable",
    verdict="made useless",
    by="the ledger contains the first nonce for these sources, and a repeated command uses it again. With another runs "
    "folder, a user can hide attempts, but a rerun on fresh seeds shows the usual result",
)
def test_repeated_nonces(tmp_path: Path) -> None:
    sources = {"mine@1": "ab" * 32}
    first = request_nonce("local", sources, tmp_path, OFFLINE)
    assert request_nonce("local", sources, tmp_path, OFFLINE) == first
