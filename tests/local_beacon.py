"""A randomness beacon on this machine that signs every round at once, for tests of nonces."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast
from unittest import mock

from harness.system.beacon import CHAINS, QUICKNET, Beacon, BeaconChain
from harness.system.beacon_signature import kept_recursion_limit
from tests.web import Site, serve

with kept_recursion_limit():
    from py_ecc.bls.hash_to_curve import hash_to_G1
    from py_ecc.bls.point_compression import compress_G1, compress_G2
    from py_ecc.optimized_bls12_381 import G2, multiply

_PRIVATE_KEY = 1234567
_TAG = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"


def _public_key() -> str:
    return b"".join(half.to_bytes(48, "big") for half in compress_G2(multiply(cast(Any, G2), _PRIVATE_KEY))).hex()


#: A network with the times of `quicknet`, whose private key the tests know.
CHAIN: BeaconChain = replace(QUICKNET, public_key=_public_key(), name="tests")


def sign(number: int) -> bytes:
    """Return the signature of a round."""
    # py_ecc declares the type of a hash object where it takes a function.
    hashed = hash_to_G1(hashlib.sha256(number.to_bytes(8, "big")).digest(), _TAG, cast(Any, hashlib.sha256))
    return compress_G1(multiply(hashed, _PRIVATE_KEY)).to_bytes(48, "big")


class EveryRound(dict[str, bytes]):
    """The answers of a relay."""

    def __contains__(self, path: object) -> bool:
        return str(path).startswith(f"{CHAIN.hash}/public/")

    def __missing__(self, path: str) -> bytes:
        number = int(path.rpartition("/")[2])
        signature = sign(number)
        randomness = hashlib.sha256(signature).hexdigest()
        return json.dumps({"round": number, "randomness": randomness, "signature": signature.hex()}).encode()


@contextmanager
def serve_beacon() -> Iterator[Beacon]:
    """Serve a beacon until the block ends, and yield a client that does not wait for rounds."""
    with serve(Site(files=EveryRound())) as site, mock.patch.dict(CHAINS, {CHAIN.hash: CHAIN}):
        yield Beacon(chain=CHAIN, relays=(site.url,), sleep=lambda seconds: None)
