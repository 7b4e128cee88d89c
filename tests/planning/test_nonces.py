"""Nonces: requested after the sources were committed, used again, and the only origin of the seeds."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.contract.run import Nonce
from harness.errors import UsageError
from harness.planning.nonces import find_nonce_problem, request_nonce
from harness.planning.seeds import expected_seeds
from harness.storage.layout import run_id
from harness.storage.ledger import LEDGER, read_ledger
from harness.system.beacon import DEFAULT_CHAIN, Beacon, BeaconError, BeaconRound
from tests.helpers import spec_of, submission
from tests.system.test_beacon import RANDOMNESS, SIGNATURE

SOURCES = {"mine@1": "ab" * 32}


class OneRound(Beacon):
    """A beacon that publishes round 367, or cannot be read."""

    def read_next(self) -> BeaconRound:
        if not self.relays:
            raise BeaconError("no relay")
        return BeaconRound(number=367, randomness=RANDOMNESS, signature=SIGNATURE)


PUBLISHED = OneRound(chain=DEFAULT_CHAIN, relays=("https://relay",))
OFFLINE = OneRound(chain=DEFAULT_CHAIN, relays=())


def test_the_source_is_committed_before_the_beacon_is_read(tmp_path: Path) -> None:
    requested = request_nonce("beacon", SOURCES, tmp_path, PUBLISHED)
    assert requested is not None
    assert (requested.nonce.round, requested.nonce.value, requested.message) == (367, RANDOMNESS, "")
    assert find_nonce_problem(requested.nonce) == ""
    events = [(entry.event, entry.sources) for entry in read_ledger(tmp_path / LEDGER)]
    assert events == [("committed", SOURCES), ("nonce", SOURCES)]


def test_the_same_sources_get_the_same_nonce(tmp_path: Path) -> None:
    """Otherwise nonces could be drawn until one is favourable, and no command could be continued."""
    first = request_nonce("local", SOURCES, tmp_path, OFFLINE)
    assert request_nonce("local", SOURCES, tmp_path, OFFLINE) == first
    assert request_nonce("local", {"mine@1": "cd" * 32}, tmp_path, OFFLINE) != first


def test_without_a_beacon_the_nonce_is_local(tmp_path: Path) -> None:
    requested = request_nonce("beacon", SOURCES, tmp_path, OFFLINE)
    assert requested is not None
    assert requested.nonce.source == "local"
    assert "instead of the beacon" in requested.message


def test_given_none_and_wrong_nonces(tmp_path: Path) -> None:
    assert request_nonce("none", SOURCES, tmp_path, OFFLINE) is None
    given = request_nonce("AB" * 32, SOURCES, tmp_path, OFFLINE)
    assert given is not None
    assert given.nonce == Nonce(value="ab" * 32, source="given")
    with pytest.raises(UsageError, match="is not a nonce"):
        request_nonce("lucky", SOURCES, tmp_path, OFFLINE)
    assert not (tmp_path / LEDGER).exists()


def test_seeds_follow_from_the_nonce_alone() -> None:
    entry = submission("tests.submissions_for_tests:Plain")
    nonce = Nonce(value="ab" * 32, source="local")
    planned = [spec_of(entry, nonce=nonce, seed=seed) for seed in (0, 7)]
    assert planned[0] == planned[1]
    assert planned[0].seeds == expected_seeds(planned[0]) != spec_of(entry).seeds
    other = spec_of(entry, nonce=Nonce(value="cd" * 32, source="local"))
    later = msgspec.structs.replace(planned[0], study=1)
    assert len({run_id(spec) for spec in (*planned, other, later)}) == 3
    assert len({msgspec.json.encode(expected_seeds(spec)) for spec in (*planned, other, later)}) == 3
