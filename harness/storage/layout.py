"""File names and identities: where records, checkpoints and compiler caches lie."""

from __future__ import annotations

import hashlib

import msgspec

from harness.contract.run import RunSpec

RECORD = "record.json"
#: In the folder of a run: what its compiler keeps until it has ended.
COMPILED = "compiled"
#: There, too: the checkpoints of an unfinished run, damaged ones included.
CHECKPOINTS = "checkpoint*.pt*"


SUPERSEDED = "superseded"
RUN_ID_PREFIX = "run-"


def run_id(spec: RunSpec) -> str:
    """The identity of a trial: a hash of everything that decides its outcome."""
    return RUN_ID_PREFIX + hashlib.sha256(msgspec.json.encode(spec, order="sorted")).hexdigest()[:16]
