"""Restrict the files, processes and networks that this process can access, with mechanisms of the kernel.

usage: python -m harness.system.sandbox FOLDER      (started by `ask_kernel`)
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from harness.contract.sandbox import NO_SANDBOX, SandboxOffer, SandboxRequest
from harness.errors import UsageError
from harness.system import landlock, namespaces, python_process

#: Environment variable that selects the sandbox.
VARIABLE = "BENCH_SANDBOX"
#: Maximum number of seconds for trying the mechanisms of the kernel.
_PROBE_S = 60.0
#: The descriptor of this process's folder in /proc, once the process is in a sandbox.
_own_folder: list[int] = []


def enter(request: SandboxRequest) -> str:
    """Enter a sandbox for the rest of this process's life, and return its name for the record.

    The process must have one thread.

    Raises:
        OSError: the kernel refuses a mechanism that it has offered. The process may then be partly restricted.
    """
    offer = request.offer
    if request.name == NO_SANDBOX:
        return NO_SANDBOX
    # Landlock ties a rule to an inode. This process's folder in /proc stays open, because the kernel may otherwise give
    # it a new inode.
    _own_folder.append(os.open("/proc/self", os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY))
    if offer.namespaces:
        namespaces.isolate(network=request.network)
        if not offer.landlock:
            namespaces.hide_files(request.hidden, request.writable)
        namespaces.drop_capabilities()
        landlock.forbid_new_privileges()
    if offer.landlock:
        readable = (*request.readable, f"/proc/self/fd/{_own_folder[0]}")
        writable = request.writable + ((namespaces.SHARED_MEMORY,) if offer.namespaces else ())
        restricted = msgspec.structs.replace(request, readable=readable, writable=writable)
        # In a network namespace of its own, a process reaches only itself.
        landlock.restrict(restricted, tcp=request.network or offer.namespaces)
    return request.name


def is_confined() -> bool:
    """Return whether this process has entered a sandbox."""
    return bool(_own_folder)


def find_offer(folder: Path) -> SandboxOffer:
    """Return the kernel's mechanisms for a process that writes to a folder; no mechanisms if they are turned off.

    Raises:
        UsageError: see `is_turned_off`.
    """
    return SandboxOffer() if is_turned_off() else ask_kernel(folder)


def is_turned_off() -> bool:
    """Return whether the environment variable `BENCH_SANDBOX` turns the sandbox off.

    Raises:
        UsageError: the variable is neither `none`, `auto` nor empty.
    """
    setting = os.environ.get(VARIABLE) or "auto"
    if setting not in ("auto", "none"):
        raise UsageError(f"{VARIABLE} is {setting!r}", fix="set it to none, or to auto, the default")
    return setting == "none"


@functools.cache
def ask_kernel(folder: Path) -> SandboxOffer:
    """Return the mechanisms that work. They are tried in another process, since a process cannot leave a sandbox."""
    if sys.platform != "linux":
        return SandboxOffer()
    command = python_process.command("harness.system.sandbox", str(folder))
    try:
        answer = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=python_process.environment(),
            timeout=_PROBE_S, check=True,
        ).stdout  # fmt: skip
        return msgspec.json.decode(answer, type=SandboxOffer)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError):
        return SandboxOffer()


def try_mechanisms(folder: str) -> SandboxOffer:
    """Try combinations of mechanisms, the strongest first, and return the first one that works.

    Each combination is tried in a forked process.

    Args:
        folder: folder in which a process of the sandbox must be able to write.
    """
    abi = landlock.supported_abi()
    offers = [SandboxOffer(landlock=abi, namespaces=True), SandboxOffer(landlock=abi), SandboxOffer(namespaces=True)]
    return next((offer for offer in offers if _holds(offer, folder)), SandboxOffer())


def _holds(offer: SandboxOffer, folder: str) -> bool:
    """Return whether a process with this sandbox can write to a folder."""
    child = os.fork()
    if not child:
        code = 1
        try:
            enter(SandboxRequest(offer=offer, writable=(folder,)))
            with tempfile.TemporaryFile(dir=folder):
                code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


if __name__ == "__main__":
    print(msgspec.json.encode(try_mechanisms(sys.argv[1])).decode())
