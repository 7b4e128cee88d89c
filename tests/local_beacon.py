"""A randomness beacon on this machine that answers every round at once, for tests of nonces."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

from harness.system.beacon import QUICKNET, Beacon
from tests.web import Site, serve


class EveryRound(dict[str, bytes]):
    """The answers of a relay. The signature of a round is invented; only honest relays could tell."""

    def __contains__(self, path: object) -> bool:
        return str(path).startswith(f"{QUICKNET.hash}/public/")

    def __missing__(self, path: str) -> bytes:
        signature = hashlib.sha256(path.encode())
        answer = {
            "round": int(path.rpartition("/")[2]),
            "randomness": hashlib.sha256(signature.digest()).hexdigest(),
            "signature": signature.hexdigest(),
        }
        return json.dumps(answer).encode()


@contextmanager
def serve_beacon() -> Iterator[Beacon]:
    """Serve a beacon until the block ends, and yield a client that does not wait for rounds."""
    with serve(Site(files=EveryRound())) as site:
        yield Beacon(relays=(site.url,), sleep=lambda seconds: None)


if __name__ == "__main__":
    with serve_beacon() as beacon:
        print(beacon.relays[0], flush=True)
        input()
