"""Run each case in a process of its own, forked from this one, with limits on time and memory.

No case trains, and no case opens a network connection. Outside of the fuzzer, `bench` reads plugins in a new
interpreter, which takes seconds to start. In a case, a fork of the case's process reads them.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import shutil
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from fuzzing.case import FuzzCase, write_files

#: Limit in seconds for reading a plugin in a case.
PLUGIN_SECONDS = 4
#: Exit code of a case whose command raised an exception.
EXIT_ESCAPED = 99
#: Name of the HTML file that cases write.
REPORT = "out.html"
#: Error message that replaces a trial or a new interpreter. If it is printed, the command tried to start one of them.
TRIAL_REFUSED = "the fuzzer runs no trial"
#: Maximum number of bytes that are read of each output of a case.
_MAX_OUTPUT = 32 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a case.

    Args:
        wall_seconds: wall seconds after which a case counts as hanging.
        cpu_seconds: CPU seconds after which a case counts as hanging.
        memory_bytes: bytes of memory that a case may use in addition to the memory of this process.
    """

    wall_seconds: float = 10.0
    cpu_seconds: int = 30
    memory_bytes: int = 1 << 30


@dataclass(frozen=True, kw_only=True)
class CaseOutcome:
    """The outcome of a case.

    Args:
        exit_code: exit code; negative if a signal ended the process.
        stdout: text on stdout.
        stderr: text on stderr.
        report: content of the HTML file that the command wrote.
        added_bytes: peak memory in bytes, minus the memory of this process.
        cpu_seconds: CPU seconds.
    """

    exit_code: int
    stdout: str
    stderr: str
    report: str = ""
    added_bytes: int
    cpu_seconds: float


class CaseRunner:
    """Runs cases below a folder.

    Args:
        folder: folder for the files of cases and for the cache of plugins.
        limits: limits of each case.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "COLUMNS"))},
            "BENCH_CACHE": str(folder / "cache"),
            "BENCH_DATA": "data",
            "HOME": str(folder / "case"),
            "BENCH_PLUGIN_TIMEOUT": str(PLUGIN_SECONDS),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
        }

    def run(self, case: FuzzCase) -> CaseOutcome:
        """Write the files of a case, run its command, remove the files, and return the outcome."""
        folder = self.folder / "case"
        outputs = self.folder / "outputs"
        for path in (folder, outputs):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        write_files(case.files, folder)
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            self._run_child(case, folder, outputs)
        _, status, usage = os.wait4(pid, 0)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        stdout, stderr, report = map(_read_output, (outputs / "stdout", outputs / "stderr", folder / REPORT))
        shutil.rmtree(folder, ignore_errors=True)
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return CaseOutcome(
            exit_code=os.waitstatus_to_exitcode(status),
            stdout=stdout,
            stderr=stderr,
            report=report,
            added_bytes=max(0, usage.ru_maxrss - own) << 10,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
        )

    def _run_child(self, case: FuzzCase, folder: Path, outputs: Path) -> NoReturn:
        code = EXIT_ESCAPED
        try:
            os.setsid()
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(self._environment)
            for name, value in case.environment.items():
                with contextlib.suppress(ValueError):  # no environment can hold a zero byte
                    os.environ[name] = value
            if site := case.environment.get("PYTHONPATH"):
                sys.path.insert(0, os.path.abspath(site))
            _redirect_streams(outputs)
            self._set_limits()
            _forbid_side_effects()
            code = _call(case)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
            with contextlib.suppress(BaseException):
                sys.stderr.flush()
            os._exit(code)

    def _set_limits(self) -> None:
        # RLIMIT_AS would also count reserved addresses and mapped libraries, which take no memory.
        own = int(_read_own_status("VmData")) << 10
        for limit, value in (
            (resource.RLIMIT_DATA, own + self.limits.memory_bytes),
            (resource.RLIMIT_CPU, self.limits.cpu_seconds),
            (resource.RLIMIT_FSIZE, 1 << 30),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.setrlimit(limit, (value, value))
        for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, self.limits.wall_seconds)


def _read_own_status(field: str) -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{field}:"))


def _redirect_streams(outputs: Path) -> None:
    for number, path, flags in (
        (0, "/dev/null", os.O_RDONLY),
        (1, str(outputs / "stdout"), os.O_WRONLY | os.O_CREAT),
        (2, str(outputs / "stderr"), os.O_WRONLY | os.O_CREAT),
    ):
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    # A test runner may have replaced the streams of this process.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


def _read_output(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        with open(path, "rb") as file:
            return file.read(_MAX_OUTPUT).decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def _call(case: FuzzCase) -> int:
    if not case.function:
        from harness.cli import invoke

        return invoke(list(case.arguments))
    import harness
    from harness.errors import BenchError

    try:
        result = getattr(harness, case.function)(**case.keywords)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    print(len(result))
    return 0


# --- forbidden side effects -------------------------------------------------------------------------------------------


def _forbid_side_effects() -> None:
    """Replace the functions that would train, sleep, connect to the network or start an interpreter."""
    import socket
    import subprocess

    from harness.datasets import http
    from harness.errors import UsageError
    from harness.execution import local, ray, slurm
    from harness.plugins.reading import _Child

    def refuse_trials(*arguments: Any, **keywords: Any) -> NoReturn:
        raise UsageError(TRIAL_REFUSED, fix="run the command itself")

    start_program = subprocess.Popen.__init__

    def refuse_interpreter(self: Any, command: Any, *arguments: Any, **keywords: Any) -> None:
        if isinstance(command, (list, tuple)) and command and command[0] == sys.executable:
            raise UsageError(TRIAL_REFUSED, fix="run the command itself")
        start_program(self, command, *arguments, **keywords)

    def refuse_connection(*arguments: Any, **keywords: Any) -> NoReturn:
        raise OSError("the fuzzer opens no connection")

    subprocess.Popen.__init__ = refuse_interpreter  # type: ignore[assignment,method-assign]
    for module in (local, ray, slurm):
        vars(module)["execute"] = refuse_trials
    for name in ("getaddrinfo", "create_connection"):
        setattr(socket, name, refuse_connection)
    http.time.sleep = lambda seconds: None  # type: ignore[attr-defined]
    _Child._start = staticmethod(_fork_reader)  # type: ignore[assignment,method-assign]


class ForkedReader:
    """The process that reads a plugin, with the attributes of `subprocess.Popen` that `bench` uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def _fork_reader(folder: Path, errors: Any) -> ForkedReader:
    pid = os.fork()
    if pid:
        return ForkedReader(pid)
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for source, target in ((null, 0), (null, 1), (errors.fileno(), 2)):
            os.dup2(source, target)
        from harness.plugins.child import main

        main(folder)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def warm_up(*names: str) -> None:
    """Import the modules of all commands, and `names`. Cases are forked later, and need not import them."""
    modules = ["cli.app", "report.html", "report.dataframes", "report.imported_logs", "report.curve", "plugins.child"]
    modules += ["execution.local", "execution.ray", "execution.slurm", "gating.session", "tuning.session"]
    others = ["pandas", "scipy.stats", "scipy.optimize", "yaml", "lzma", "gzip", "urllib.request"]
    for name in [*(f"harness.{module}" for module in modules), *others, *names]:
        importlib.import_module(name)
    from harness.cli.app import COMMANDS

    for load, _ in COMMANDS.values():
        importlib.import_module(load.partition(":")[0])
    # The garbage collector does not touch frozen objects, so forked processes share their memory.
    gc.collect()
    gc.freeze()
