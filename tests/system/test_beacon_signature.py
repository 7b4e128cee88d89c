"""The signatures of rounds that the networks of drand published, and of rounds that they did not."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from harness.system import beacon_signature
from harness.system.beacon import DEFAULT_CHAIN, QUICKNET, BeaconChain, BeaconError, BeaconRound, find_inconsistency
from harness.system.beacon_signature import is_signed
from tests.local_beacon import CHAIN, serve_beacon, sign
from tests.web import Site, serve

#: Round 1000 of `quicknet`, from the examples of the drand clients.
QUICKNET_1000 = "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"
#: Rounds 366 and 367 of `default`, from https://drand.love/developer/http-api/
DEFAULT_366 = (
    "859504eade86790ad09b2b3474d5e09d1718b549ef7107d7bbd18f5e221765ce8252d7db02664c1f6b20f40c6e8e1387"
    "04d2acfeb6c5abcc14c77e3a842b2f84515e7366248ca37b1460d23b4f98493c246fbb02851f2a43a710c968a349f8d6"
)
DEFAULT_367 = (
    "90957ebc0719f8bfb67640aff8ca219bf9f2c5240e60a8711c968d93370d38f87b38ed234a8c63863eb81f234efce55b"
    "047478848c0de025527b3d3476dfe860632c1b799550de50a6b9540463e9fb66c8016b89c04a9f52dabdc988e69463c1"
)


def published(number: int, signature: str, previous: str = "") -> BeaconRound:
    randomness = hashlib.sha256(bytes.fromhex(signature)).hexdigest()
    return BeaconRound(number=number, randomness=randomness, signature=signature, previous_signature=previous)


@pytest.mark.parametrize(
    ("chain", "answer"),
    [
        (QUICKNET, published(1000, QUICKNET_1000)),
        (DEFAULT_CHAIN, published(367, DEFAULT_367, DEFAULT_366)),
        (CHAIN, published(5, sign(5).hex())),
    ],
    ids=["quicknet", "default", "the network of the tests"],
)
def test_a_published_round_is_signed(chain: BeaconChain, answer: BeaconRound) -> None:
    assert find_inconsistency(answer, answer.number, chain) == ""


@pytest.mark.parametrize(
    ("chain", "answer"),
    [
        (QUICKNET, published(1001, QUICKNET_1000)),
        (QUICKNET, published(1000, sign(1000).hex())),
        (CHAIN, published(1000, QUICKNET_1000)),
        (DEFAULT_CHAIN, published(367, DEFAULT_367, DEFAULT_366[::-1])),
        (QUICKNET, published(1000, "ab" * 48)),
        (QUICKNET, published(1000, "c0" + 47 * "00")),
        (QUICKNET, published(1000, "b4")),
        (QUICKNET, published(1000, DEFAULT_367)),
        (QUICKNET, published(-1, QUICKNET_1000)),
        (QUICKNET, published(2**64, QUICKNET_1000)),
    ],
    ids=[
        "another round", "another key", "another network", "another round before it", "no point", "infinity",
        "too short", "a point of the other group", "a negative round", "a round of more than 64 bits",
    ],
)  # fmt: skip
def test_an_invented_round_is_not_signed(chain: BeaconChain, answer: BeaconRound) -> None:
    assert find_inconsistency(answer, answer.number, chain) == "its signature is not that of the network"


def test_a_point_outside_the_subgroup_signs_nothing() -> None:
    """Such points of the curve exist, and a pairing with them proves nothing."""
    # py_ecc was imported by `local_beacon`, which keeps the recursion limit.
    from py_ecc.bls.point_compression import compress_G1
    from py_ecc.optimized_bls12_381 import FQ, b, field_modulus, is_on_curve

    x = next(x for x in range(1, 100) if pow(x**3 + 4, (field_modulus - 1) // 2, field_modulus) == 1)
    y = pow(x**3 + 4, (field_modulus + 1) // 4, field_modulus)
    point = (FQ(x), FQ(y), FQ(1))
    assert is_on_curve(point, b)
    signature = compress_G1(point).to_bytes(48, "big")
    assert not is_signed(b"message", signature, bytes.fromhex(QUICKNET.public_key))


def test_a_relay_with_an_invented_round_is_passed_over() -> None:
    path, signature = f"{CHAIN.hash}/public/7", "ab" * 48
    randomness = hashlib.sha256(bytes.fromhex(signature)).hexdigest()
    invented = json.dumps({"round": 7, "randomness": randomness, "signature": signature}).encode()
    with serve_beacon() as honest, serve(Site(files={path: invented})) as dishonest:
        relays = (dishonest.url, *honest.relays)
        assert replace(honest, relays=relays).read(7).signature == sign(7).hex()
        with pytest.raises(BeaconError, match="its signature is not that of the network"):
            replace(honest, relays=relays[:1]).read(7)


def test_the_recursion_limit_stays() -> None:
    """Importing py_ecc raises it, and deeply nested JSON would then end the process."""
    code = (
        "import sys; limit = sys.getrecursionlimit()\n"
        "from harness.system.beacon_signature import is_signed\n"
        f"assert not is_signed(b'', bytes.fromhex('{QUICKNET_1000}'), bytes.fromhex('{QUICKNET.public_key}'))\n"
        "assert 'py_ecc' in sys.modules and sys.getrecursionlimit() == limit"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_without_the_library_a_signature_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beacon_signature, "can_verify", lambda: False)
    assert find_inconsistency(published(1000, "ab" * 48), 1000, QUICKNET) == ""
