"""Identify sessions: one invocation of a command on one machine."""

from __future__ import annotations

import hashlib
import platform
import secrets

import msgspec

from harness.contract.record import Session
from harness.contract.run import ExecutionOptions

#: The invocation of runs that were not started through `run_trials`: this process.
_PROCESS_INVOCATION = secrets.token_hex(4)


def with_invocation(options: ExecutionOptions) -> ExecutionOptions:
    """Return the options with a new random identifier of the invocation, unless they have one."""
    return options if options.invocation else msgspec.structs.replace(options, invocation=secrets.token_hex(4))


def current_session(invocation: str = "") -> Session:
    """Return the session of an invocation on this machine.

    Args:
        invocation: identifier of the invocation; when empty, this process is the invocation.
    """
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    return Session(invocation=invocation or _PROCESS_INVOCATION, machine=machine)


def append_session(sessions: tuple[Session, ...], session: Session, first_point: int) -> tuple[Session, ...]:
    """Return a run's sessions when `session` measures its points from `first_point` on.

    Sessions whose points were all lost are removed, since the run resumes from an earlier checkpoint.

    >>> a, b = Session(invocation="a", machine="m"), Session(invocation="b", machine="m")
    >>> [(part.invocation, part.first_point) for part in append_session((a,), b, 3)]
    [('a', 0), ('b', 3)]
    >>> append_session((a,), b, 0) == (b,)
    True
    """
    earlier = tuple(part for part in sessions if part.first_point < first_point)
    if earlier and earlier[-1].id == session.id:
        return earlier
    return (*earlier, msgspec.structs.replace(session, first_point=first_point))
