"""Describe sessions. A session is one invocation of a command on one machine."""

from __future__ import annotations

import functools
import hashlib
import platform
import secrets

import msgspec

from harness.contract.record import Session
from harness.contract.run import ExecutionOptions
from harness.hardware.drivers import program_output

#: Identifier of the invocation for runs that are not started by `run_trials`. It is a random constant of this process.
_PROCESS_INVOCATION = secrets.token_hex(4)


def with_invocation(options: ExecutionOptions) -> ExecutionOptions:
    """Return the options with an identifier of the invocation. If the options have none, it is drawn at random."""
    return options if options.invocation else msgspec.structs.replace(options, invocation=secrets.token_hex(4))


def current_session(invocation: str = "") -> Session:
    """Return the session of an invocation on this machine.

    Args:
        invocation: identifier of the invocation; if empty, the identifier of this process is used.
    """
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    return Session(invocation=invocation or _PROCESS_INVOCATION, machine=machine)


def append_session(sessions: tuple[Session, ...], session: Session, first_point: int) -> tuple[Session, ...]:
    """Return the sessions of a run after a further session has begun.

    If a run resumes from a checkpoint, points after this checkpoint are lost. Sessions that measured only lost points
    are removed.

    Args:
        sessions: the previous sessions of the run, in order.
        session: the further session.
        first_point: index of the first point that the further session measures.

    >>> a, b = Session(invocation="a", machine="m"), Session(invocation="b", machine="m")
    >>> [(session.invocation, session.first_point) for session in append_session((a,), b, 3)]
    [('a', 0), ('b', 3)]
    >>> append_session((a,), b, 0) == (b,)
    True
    """
    kept_sessions = tuple(earlier for earlier in sessions if earlier.first_point < first_point)
    if kept_sessions and kept_sessions[-1].id == session.id:
        return kept_sessions
    return (*kept_sessions, msgspec.structs.replace(session, first_point=first_point))


@functools.lru_cache(maxsize=1)
def git_state(invocation: str = "") -> str:
    """Return the git commit of the current folder, with a final `+` if tracked files have uncommitted changes.

    Outside of a git repository, return an empty string. The result is cached, because calling git takes a noticeable
    part of a short run.

    Args:
        invocation: identifier of the command's invocation. It only serves as the cache key: git is called once for each
            invocation.
    """
    commit = program_output("git", "rev-parse", "--short=12", "HEAD")
    # Without `--no-optional-locks`, `git status` locks the index, and leaves the lock behind if this process is killed.
    status = ("git", "--no-optional-locks", "status", "--porcelain", "-uno")
    return f"{commit}+" if commit and program_output(*status) else commit
