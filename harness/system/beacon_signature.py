"""Verify the BLS signature of a beacon's round with the library py_ecc, if it is installed (extra `beacon`).

The curve is BLS12-381. Keys and signatures are points of its groups G1 and G2, compressed to 48 and 96 bytes. A network
has its keys in one group and its signatures in the other, so the lengths tell which group is which.

Source: drand specification, section "Cryptographic specification", https://docs.drand.love/docs/cryptography; Boneh et
al., BLS Signatures, draft-irtf-cfrg-bls-signature-05, section 2.7 (CoreVerify).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import Any, Final

_G1_BYTES = 48
_G2_BYTES = 96
#: Domain separation tags of the networks (RFC 9380, section 3.1).
_TAG: Final = "BLS_SIG_BLS12381{group}_XMD:SHA-256_SSWU_RO_NUL_"
#: py_ecc declares the type of a hash object where it takes a function.
_SHA256: Final[Any] = hashlib.sha256


def can_verify() -> bool:
    """Return whether the library is installed."""
    return importlib.util.find_spec("py_ecc") is not None


@contextlib.contextmanager
def kept_recursion_limit() -> Iterator[None]:
    """At the end of this context, restore Python's recursion limit.

    Importing py_ecc raises the limit to 100,000. With this limit, reading deeply nested JSON ends the process (stack
    overflow) instead of raising a RecursionError.
    """
    limit = sys.getrecursionlimit()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@functools.lru_cache(maxsize=1024)
def is_signed(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Return whether a message was signed with the private key that belongs to a public key.

    This takes about half a second. `can_verify` must have returned True.

    Args:
        message: the signed bytes.
        signature: the compressed signature, 48 or 96 bytes.
        public_key: the compressed public key, 96 or 48 bytes.
    """
    with kept_recursion_limit():
        from py_ecc.bls.hash_to_curve import hash_to_G1, hash_to_G2
        from py_ecc.optimized_bls12_381 import FQ12, G1, G2, final_exponentiate, is_inf, neg, pairing

    if sorted((len(signature), len(public_key))) != [_G1_BYTES, _G2_BYTES]:
        return False
    signature_point, key_point = _find_point(signature), _find_point(public_key)
    if signature_point is None or key_point is None or is_inf(key_point):
        return False
    # The signature is valid if e(signature, generator) = e(hash of the message, public key).
    if len(signature) == _G1_BYTES:
        hashed: Any = hash_to_G1(message, _TAG.format(group="G1").encode(), _SHA256)
        left = pairing(G2, signature_point, final_exponentiate=False)
        right = pairing(key_point, neg(hashed), final_exponentiate=False)
    else:
        hashed = hash_to_G2(message, _TAG.format(group="G2").encode(), _SHA256)
        left = pairing(signature_point, G1, final_exponentiate=False)
        right = pairing(neg(hashed), key_point, final_exponentiate=False)
    return bool(final_exponentiate(left * right) == FQ12.one())


def _find_point(compressed: bytes) -> Any | None:
    """Return the point that the bytes encode; None if they encode no point of the group."""
    from py_ecc.bls.g2_primitives import subgroup_check
    from py_ecc.bls.point_compression import decompress_G1, decompress_G2
    from py_ecc.bls.typing import G1Compressed, G2Compressed

    halves = [int.from_bytes(compressed[i : i + _G1_BYTES], "big") for i in range(0, len(compressed), _G1_BYTES)]
    try:
        if len(halves) == 1:
            point: Any = decompress_G1(G1Compressed(halves[0]))
        else:
            point = decompress_G2(G2Compressed((halves[0], halves[1])))
    except ValueError:
        return None
    return point if subgroup_check(point) else None
