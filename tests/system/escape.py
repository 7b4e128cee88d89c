"""Enter the sandbox of a request, try what it should forbid and permit, and print the outcomes as JSON.

usage: python -m tests.system.escape REQUEST OWN OTHER PORT PARENT
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.contract.sandbox import SandboxRequest
from harness.system import sandbox

ABSTRACT = "\0algorace-test-{}"
SHARED = "/dev/shm/algorace-test-{}"


def connect(family: int, address: object) -> None:
    with socket.socket(family) as client:
        client.settimeout(5)
        client.connect(address)  # type: ignore[arg-type]


def main() -> None:
    request = msgspec.json.decode(sys.argv[1], type=SandboxRequest)
    own, other, port, parent = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    outside = own.parents[1] / "written"
    attempts: dict[str, Callable[[], object]] = {
        "write own": lambda: (own / "file").write_text("x"),
        "rename own": lambda: os.replace(own / "file", own / "renamed"),
        "read own": lambda: (own / "renamed").read_text(),
        "read source": lambda: Path(__file__).read_text(),
        "read system": lambda: Path("/etc/passwd").read_text(),
        "read machine": lambda: Path("/proc/cpuinfo").read_text(),
        "read itself": lambda: Path("/proc/self/status").read_text(),
        "write device": lambda: Path("/dev/null").write_text("x"),
        "run program": lambda: subprocess.run([sys.executable, "-S", "-c", ""], check=True),
        "make lock": multiprocessing.Lock,
        "read other": lambda: (other / "weights").read_text(),
        "write other": lambda: (other / "weights").write_text("x"),
        "write outside": lambda: outside.write_text("x"),
        "write source": lambda: Path(__file__).with_name("escaped").write_text("x"),
        "read shared memory": lambda: Path(SHARED.format(parent)).read_text(),
        "read environment": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
        "connect": lambda: connect(socket.AF_INET, ("127.0.0.1", port)),
        "connect abstract": lambda: connect(socket.AF_UNIX, ABSTRACT.format(parent)),
        "signal parent": lambda: os.kill(parent, 0),
    }
    outcomes = {"name": sandbox.enter(request)}
    for name, attempt in attempts.items():
        try:
            attempt()
            outcomes[name] = "done"
        except OSError as error:
            outcomes[name] = type(error).__name__
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
