"""Notify the plugins that observe runs. Each plugin runs in its own process, and no run waits for it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import queue
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import msgspec

from harness.contract.entries import ObserverEntry
from harness.contract.observation import ObservedTrial, ObserverCall, ObserverHook, TrialOutcome
from harness.contract.record import Record, TrialSummary
from harness.contract.run import Point, RunSpec
from harness.errors import UsageError
from harness.plugins.registry import Plugin, Registry
from harness.storage.layout import run_id
from harness.system import python_process

#: Seconds for which a command waits at its end for the plugins that always observe, all together.
WAIT_S = 5.0
#: Seconds for which a command waits at its end for the observers of `--observe`. They may still be writing files.
REQUESTED_WAIT_S = 60.0
#: Maximum number of hook calls (messages about an event) in an observer's queue, in addition to those in its pipe.
MAX_WAITING = 1000
#: Seconds to wait for the writing thread after the observer's process has ended.
_JOIN_S = 1.0
#: Prefix of the environment variables that observers do not receive. Some of these contain the seed or the runs folder.
_HIDDEN_PREFIX = "BENCH_"


@dataclass(frozen=True, kw_only=True)
class RequestedObserver:
    """An observer that the user asked for.

    Args:
        entry: the observer.
        folder: folder for the observer's files.
    """

    entry: ObserverEntry
    folder: Path


def request_observers(requests: Sequence[str], registry: Registry) -> list[RequestedObserver]:
    """Return the observers that the user asked for.

    Args:
        requests: texts of the form `NAME` or `NAME=FOLDER`. The default folder is `observed/NAME`.
        registry: the plugins.

    Raises:
        UsageError: there is no such observer, it is requested twice, or a module that it needs is not installed.
    """
    observers: dict[str, RequestedObserver] = {}
    for request in requests:
        name, _, folder = request.partition("=")
        entry = registry.observer(name.strip())
        if entry.name in observers:
            raise UsageError(f"--observe {name} is given twice", fix="keep one of them")
        for module in entry.imports:
            if importlib.util.find_spec(module) is None:
                problem = f"--observe {name} needs {module}, which is not installed"
                raise UsageError(problem, fix=entry.install or f"install {module}")
        place = Path(folder.strip() or f"observed/{entry.name}").expanduser().absolute()
        observers[entry.name] = RequestedObserver(entry=entry, folder=place)
    return list(observers.values())


class Observers:
    """A watcher (`harness.contract.watcher.Watcher`) that starts the observers and sends them calls of their hooks.

    The methods return without waiting for observers. An observer that is too slow misses calls.

    Args:
        registry: the plugins.
        warn: function that shows a warning to the user. It may be called from other threads.
        requested: the observers that the user asked for, in addition to the plugins that always observe.
        wait_s: seconds for which `close` waits for the plugins that always observe.
        max_waiting: maximum number of calls in an observer's queue.
    """

    def __init__(
        self,
        registry: Registry,
        warn: Callable[[str], None],
        requested: Sequence[RequestedObserver] = (),
        *,
        wait_s: float = WAIT_S,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._salt = secrets.token_bytes(16)
        self._encoder = msgspec.json.Encoder()
        self._processes = [
            _ObserverProcess(
                plugin.id,
                (plugin.module, f"{plugin.distribution} {plugin.version}:{plugin.name}", str(wait_s)),
                plugin.hooks,
                warn,
                wait_s,
                max_waiting,
            )
            for plugin in find_observers(registry.plugins)
        ]
        self._processes += [
            _ObserverProcess(
                observer.entry.name,
                (observer.entry.load, observer.entry.name, str(REQUESTED_WAIT_S), str(observer.folder)),
                get_args(ObserverHook),
                warn,
                REQUESTED_WAIT_S,
                max_waiting,
            )
            for observer in requested
        ]

    def __enter__(self) -> Observers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        self._send(spec, "bench_run_started")

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        self._send(spec, "bench_evaluated", point=point)

    def warned(self, spec: RunSpec, message: str) -> None: ...

    def finished(self, record: Record) -> None:
        outcome = TrialOutcome(
            run_id=record.run_id,
            status=record.status,
            counters=record.counters,
            usage=record.usage,
            environment=record.environment,
            started=record.started,
            finished=record.finished,
        )
        self._send(record.spec, "bench_run_finished", outcome=outcome)

    def kept(self, summary: TrialSummary) -> None: ...

    def close(self) -> None:
        """Wait for a limited time until the observers have handled all calls. Kill the observers that still run."""
        start = time.monotonic()
        processes, self._processes = self._processes, []
        for process in processes:
            process.end_calls()
        try:
            for process in processes:
                process.wait(start)
        finally:
            for process in processes:  # the user may have pressed Ctrl-C while this method waited
                process.kill()

    def _send(
        self, spec: RunSpec, hook: ObserverHook, *, point: Point | None = None, outcome: TrialOutcome | None = None
    ) -> None:
        observing = [process for process in self._processes if hook in process.hooks]
        if observing:
            call = ObserverCall(hook=hook, trial=self._describe_trial(spec), point=point, outcome=outcome)
            line = self._encoder.encode(call) + b"\n"
            for process in observing:
                process.send(line)

    def _describe_trial(self, spec: RunSpec) -> ObservedTrial:
        facts = spec.workload.facts
        # Observers must not know the run_id: it is the name of the run's folder, and a small seed could be guessed from
        # it. They get a salted hash of it.
        identity = hashlib.sha256(self._salt + run_id(spec).encode()).hexdigest()[:16]
        return ObservedTrial(
            id=identity,
            submission=spec.submission.name,
            submission_version=spec.submission.version,
            workload=facts.name,
            workload_version=facts.version,
            ruleset=spec.ruleset.name,
            purpose=spec.purpose,
            study=spec.study,
            trial=spec.trial,
            hparams=spec.hparams,
            metric=facts.targets[0].metric,
            goal=facts.targets[0].goal,
            hardware=spec.hardware,
            smoke=spec.smoke,
        )


def find_observers(plugins: Sequence[Plugin]) -> list[Plugin]:
    """Return the plugins that implement a hook of observers and are not broken."""
    hooks = set(get_args(ObserverHook))
    return [plugin for plugin in plugins if plugin.error is None and hooks.intersection(plugin.hooks)]


class _ObserverProcess:
    """The process of one observer, and the thread that writes the waiting calls to the pipe of the process."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        hooks: Sequence[str],
        warn: Callable[[str], None],
        wait_s: float,
        max_waiting: int,
    ) -> None:
        self.hooks = frozenset(hooks)
        self._id = name
        self._warn = warn
        self._wait_s = wait_s
        self._max_waiting = max_waiting
        self._has_dropped = self._has_ended = False
        #: Lines to write, and the value `None` at the end. `send` limits the number of lines. The queue itself has no
        #: limit, so `end_calls` can always add the value `None`.
        self._calls: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        command = python_process.command("harness.plugins.observer_process", *arguments)
        variables = python_process.environment().items()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env={name: value for name, value in variables if not name.startswith(_HIDDEN_PREFIX)},
                start_new_session=True,  # Ctrl-C must not end the observer, which still handles the end of the runs
            )
        except OSError as error:
            self._has_ended = True
            warn(f"warning: the observer {self._id} is not used: its process cannot be started: {error}")
            return
        self._writer = threading.Thread(target=self._write, args=(self._process,), name="observer", daemon=True)
        self._writer.start()

    def send(self, line: bytes) -> None:
        """Put a call in the queue. The call is dropped if the process has ended or the queue is full."""
        if self._has_ended:
            return
        if self._calls.qsize() < self._max_waiting:
            self._calls.put(line)
        elif not self._has_dropped:
            self._has_dropped = True
            self._warn(f"warning: the observer {self._id} is too slow: it misses events while it is busy")

    def end_calls(self) -> None:
        """Let the writing thread close the pipe after all waiting calls. The process then ends."""
        self._calls.put(None)

    def wait(self, start: float) -> None:
        """Wait for the end of the process, and kill it `wait_s` seconds after `start` (by `time.monotonic`)."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, start + self._wait_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._report_end(f"was still busy {self._wait_s:g} s after the last event and was killed")
            self.kill()
        # If a process that the plugin forked holds the pipe open, the writing thread may never end.
        self._writer.join(_JOIN_S)
        if self._process.returncode:
            self._report_end(_describe_exit(self._process.returncode))

    def kill(self) -> None:
        """Kill the process, and the processes that it started, unless it has ended."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _write(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        try:
            while (line := self._calls.get()) is not None:
                process.stdin.write(line)
                process.stdin.flush()
        except OSError:
            self._report_end(_describe_exit(process.wait()))
        # If an earlier write has failed, its line is still in the buffer. Closing writes this line, and fails again.
        with contextlib.suppress(OSError):
            process.stdin.close()

    def _report_end(self, reason: str) -> None:
        """Tell the user why the process ended, unless an earlier call did so."""
        if not self._has_ended:
            self._has_ended = True
            self._warn(f"warning: the observer {self._id} {reason}")


def _describe_exit(code: int) -> str:
    ending = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"{ending} before the command ended; it receives no further events"
