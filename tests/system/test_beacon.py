"""The client of the beacon, against a server on this machine and a round that the beacon published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.system.beacon import (
    CHAINS,
    DEFAULT_CHAIN,
    QUICKNET,
    Beacon,
    BeaconChain,
    BeaconError,
    BeaconRound,
    find_inconsistency,
)
from tests.web import Site, serve

#: Round 367 of the network `default`, from https://drand.love/developer/http-api/
SIGNATURE = (
    "90957ebc0719f8bfb67640aff8ca219bf9f2c5240e60a8711c968d93370d38f87b38ed234a8c63863eb81f234efce55b"
    "047478848c0de025527b3d3476dfe860632c1b799550de50a6b9540463e9fb66c8016b89c04a9f52dabdc988e69463c1"
)
RANDOMNESS = "3439d92d58e47d342131d446a3abe264396dd264717897af30525c98408c834f"
#: A network that is not chained, with the times of `default`, so that one round is enough.
UNCHAINED: BeaconChain = replace(DEFAULT_CHAIN, chained=False)


@pytest.fixture(autouse=True)
def signatures_cannot_be_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests change rounds of a network whose private key nobody knows."""
    monkeypatch.setattr("harness.system.beacon_signature.can_verify", lambda: False)


def body(number: int = 367, **changes: object) -> bytes:
    content = {"round": number, "randomness": RANDOMNESS, "signature": SIGNATURE, **changes}
    return json.dumps(content).encode()


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site(files={f"{UNCHAINED.hash}/public/367": body()})) as served:
        yield served


def beacon(*relays: str, chain: BeaconChain = UNCHAINED) -> Beacon:
    moments = iter(range(10**6))
    start = chain.time_of(367) - 1
    return Beacon(chain=chain, relays=relays, clock=lambda: start + next(moments) / 1000, sleep=lambda _: None)


def test_chain_hashes_follow_from_the_constants() -> None:
    """The hashes are those on https://docs.drand.love/docs/dev-guide/3-4-dev-guide-http-api."""
    assert set(CHAINS) == {
        "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971",
        "8990e7a9aaed2ffed73dbd7092123d6f289930540d7651336225dc172e51b2ce",
    }


def test_the_next_round_is_published_after_the_moment() -> None:
    for moment in (QUICKNET.genesis - 10, QUICKNET.genesis, QUICKNET.genesis + 1, QUICKNET.genesis + 1e8 + 0.5):
        number = QUICKNET.next_round(moment)
        assert QUICKNET.time_of(number) > moment
        assert number == 1 or QUICKNET.time_of(number - 1) <= moment


def test_a_published_round_is_consistent_and_changed_ones_are_not() -> None:
    published = BeaconRound(number=367, randomness=RANDOMNESS, signature=SIGNATURE)
    assert find_inconsistency(published, 367, UNCHAINED) == ""
    assert "not 368" in find_inconsistency(published, 368, UNCHAINED)
    other = BeaconRound(number=367, randomness="00" * 32, signature=SIGNATURE)
    assert "SHA-256" in find_inconsistency(other, 367, UNCHAINED)
    odd = BeaconRound(number=367, randomness="", signature="xyz")
    assert "hexadecimal" in find_inconsistency(odd, 367, UNCHAINED)


def test_the_next_round_is_read(site: Site) -> None:
    answer = beacon(site.url).read_next()
    assert (answer.number, answer.randomness) == (367, RANDOMNESS)


def test_a_round_that_is_late_is_asked_for_again(site: Site) -> None:
    site.failures += [404, 425]
    assert beacon(site.url).read_next().number == 367
    assert len(site.requests) == 3


def test_a_relay_that_fails_is_passed_over(site: Site) -> None:
    assert beacon("http://127.0.0.1:9", site.url).read(367).randomness == RANDOMNESS


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (body(368), "it is round 368"),
        (body(randomness="00" * 32), "SHA-256"),
        (b"<html>", "not a round"),
        (b'{"round": 367}', "not a round"),
    ],
)
def test_a_wrong_answer_is_refused(site: Site, content: bytes, problem: str) -> None:
    site.files[f"{UNCHAINED.hash}/public/367"] = content
    with pytest.raises(BeaconError, match=problem):
        beacon(site.url).read(367)


def test_relays_that_disagree_are_refused(site: Site) -> None:
    import hashlib

    signature = "ab" * 48
    invented = body(signature=signature, randomness=hashlib.sha256(bytes.fromhex(signature)).hexdigest())
    other = Site(files={f"{UNCHAINED.hash}/public/367": invented})
    with serve(other), pytest.raises(BeaconError, match="disagree"):
        beacon(site.url, other.url).read(367)


def test_a_chained_round_contains_the_one_before_it(site: Site) -> None:
    chain = DEFAULT_CHAIN
    site.files[f"{chain.hash}/public/367"] = body(previous_signature="cd" * 96)
    site.files[f"{chain.hash}/public/366"] = body(366, signature="cd" * 96)
    assert beacon(site.url, chain=chain).read(367).number == 367
    site.files[f"{chain.hash}/public/366"] = body(366, signature="ef" * 96)
    with pytest.raises(BeaconError, match="round before it"):
        beacon(site.url, chain=chain).read(367)


def test_without_a_network_there_is_one_message() -> None:
    with pytest.raises(BeaconError, match="cannot be read") as error:
        beacon("http://127.0.0.1:9").read_next()
    assert "BENCH_BEACON" in str(error.value)
