"""Workers that die, hang, lie or fill the disk: every trial is still a record."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.events import Done, Evaluated, Ready
from harness.contract.record import Usage
from harness.contract.run import Point
from harness.errors import StoreError, UsageError
from harness.execution import supervisor, trial_processes, worker_process
from harness.execution.state import DEATHS_UNTIL_CRASH, Interrupted, Trial
from harness.execution.supervisor import supervise
from harness.storage import layout, records
from harness.worker import checkpoint
from tests import micro
from tests.execution import stub
from tests.helpers import FORKED, Remember, folder_of, outcome, run_here, run_worker, spec_of, submission


def test_the_beginning_and_the_end_of_a_huge_log_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "HEAD_LOG_BYTES", 100)
    monkeypatch.setattr(worker_process, "TAIL_LOG_BYTES", 1_000)
    log = tmp_path / "worker.log"
    log.write_bytes(b"short\n")
    worker_process.limit_log(log, 10_000)
    assert log.read_bytes() == b"short\n"
    written = 6
    with open(log, "ab") as worker:
        for part in range(2):
            for number in range(3000):
                written += worker.write(b"line %d\n" % number)
            worker.flush()
            worker_process.limit_log(log, 10_000)
            note = b"\n[%d bytes were left out here, because the log was too long]\n" % (written - 1_100)
            content = log.read_bytes()
            assert content.startswith(b"short\nline 0\n"), part
            assert content[100:].startswith(note), part
            assert len(content) == 1_100 + len(note)
        worker.write(b"the last line\n")
    assert log.read_bytes().splitlines()[-2:] == [b"line 2999", b"the last line"]
    # The offset at which the worker began to write lies beyond the end of the shortened log.
    assert trial_processes.read_last_line(log, 20_000) == "the last line"
    worker_process.limit_log(tmp_path / "missing.log", 10_000)


@pytest.mark.slow
def test_the_log_of_a_run_that_has_ended_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "FINAL_LOG_BYTES", 200_000)
    monkeypatch.setattr(worker_process, "TAIL_LOG_BYTES", 1_000)
    source = tmp_path / "noisy.py"
    source.write_text("print('x' * 300_000)\nfrom tests.submissions_for_tests import Base\n")
    spec = spec_of(submission(f"{source}:Base", needs=frozenset({"feedback", "pool", "holdout"})), smoke=True)
    assert run_worker(spec, tmp_path / "runs").status == "exhausted"
    log = folder_of(spec, tmp_path / "runs").path / "worker.log"
    assert log.stat().st_size < 100_000
    assert b"bytes were left out here" in log.read_bytes()


linux = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")


def entry(name: str, **fields: Any) -> Any:
    return submission(f"tests.submissions_for_tests:{name}", **fields)


@pytest.fixture(autouse=True)
def _tests_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))))
    # Many tests wait for a checkpoint of a short run.
    monkeypatch.setenv(supervisor.CHECKPOINT_SHARE_VARIABLE, "inf")


@pytest.mark.parametrize("text", ["0", "-1", "nan", "often"])
def test_a_wrong_share_of_checkpoints_is_one_line(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(supervisor.CHECKPOINT_SHARE_VARIABLE, text)
    with pytest.raises(UsageError, match=f"BENCH_CHECKPOINT_SHARE='{text}' is not a positive number"):
        run_here(spec_of(entry("Base")), tmp_path)


@pytest.fixture(params=["fresh", pytest.param("forked", marks=linux)])
def either_worker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test holds for a fresh worker and for a forked one."""
    if request.param == "forked":
        monkeypatch.setenv(FORKED, "1")


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_a_worker_gives_what_this_process_gives(tmp_path: Path) -> None:
    spec = spec_of(entry("Noisy"))
    assert outcome(run_worker(spec, tmp_path / "worker")) == outcome(run_here(spec, tmp_path / "here"))


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_a_finished_run_leaves_no_checkpoint(tmp_path: Path) -> None:
    spec = spec_of(entry("Base"))
    run_worker(spec, tmp_path)
    names = {p.name for p in folder_of(spec, tmp_path).path.iterdir()}
    assert names == {"record.json", "final.safetensors", "worker.log", "lock"}


@pytest.mark.slow
def test_finished_runs_are_kept_and_force_sets_them_aside(tmp_path: Path) -> None:
    spec = spec_of(entry("Base"), smoke=True)
    first = run_worker(spec, tmp_path)
    watcher = Remember()
    assert run_worker(spec, tmp_path, watcher) == first
    assert [(kept.run_id, kept.status, kept.kept) for kept in watcher.kept_outcomes] == [
        (first.run_id, first.status, True)
    ]
    again = run_worker(spec, tmp_path, force=True)
    assert outcome(again) == outcome(first)
    assert [records.read_record(p) for p in (tmp_path / "superseded").rglob("record.json")] == [first]


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_a_worker_killed_three_times_without_progress_has_crashed(tmp_path: Path) -> None:
    spec = spec_of(entry("KillsItself"))
    statuses = [run_worker(spec, tmp_path).status for _ in range(3)]
    assert statuses == ["interrupted", "interrupted", "crashed"]
    record = folder_of(spec, tmp_path).record()
    assert record is not None
    assert "SIGKILL" in record.reason


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_a_worker_that_exits_has_crashed(tmp_path: Path) -> None:
    record = run_worker(spec_of(entry("Exits")), tmp_path)
    assert record.status == "crashed"
    assert "7" in record.reason


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_a_worker_that_hangs_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = msgspec.structs.replace(micro.FACTS.budget, seconds={"default": 1e-3})
    spec = spec_of(entry("Hangs"), facts={"budget": budget})
    monkeypatch.setattr(worker_process, "SILENCE_S", 1.0)
    record = run_worker(spec, tmp_path)
    assert record.status == "timeout"
    assert "no event from the worker" in record.reason


@pytest.mark.slow
def test_a_run_that_never_reaches_an_evaluation_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that only make forward passes break no rule, and draw nothing."""
    budget = msgspec.structs.replace(micro.FACTS.budget, seconds={"default": 1e-3})
    monkeypatch.setattr(worker_process, "SILENCE_S", 1.0)
    record = run_worker(spec_of(entry("OnlyLooks"), facts={"budget": budget}), tmp_path)
    assert record.status == "timeout"
    assert "no event from the worker for 1 s, such as an evaluation" in record.reason
    assert [point.examples for point in record.points] == [0]


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_patched_time_functions_change_nothing(tmp_path: Path) -> None:
    record = run_worker(spec_of(entry("SlowClock"), smoke=True), tmp_path)
    assert record.status == "exhausted", record.reason
    assert record.counters.seconds > 0


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_a_changed_clock_is_rejected(tmp_path: Path) -> None:
    record = run_worker(spec_of(entry("ReachesIntoTheClock")), tmp_path)
    assert record.status == "rejected"
    assert "clock" in record.reason


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_a_corrupt_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    spec = spec_of(entry("Noisy"))
    whole = run_here(spec, tmp_path / "whole")
    runs = tmp_path / "runs"
    _interrupt_after(spec, runs, 3)
    current = folder_of(spec, runs).worker_path / "checkpoint.pt"
    payload = bytearray(current.read_bytes())
    payload[len(payload) // 2] ^= 1
    current.write_bytes(payload)
    watcher = Remember()
    record = run_worker(spec, runs, watcher)
    assert outcome(record) == outcome(whole)
    assert any("SHA-256" in warning and "checkpoint.corrupt" in warning for warning in watcher.warnings)
    assert watcher.resumed == [3], "the checkpoint before holds one evaluation fewer"


@pytest.mark.slow
def test_without_any_whole_checkpoint_a_run_starts_over(tmp_path: Path) -> None:
    spec = spec_of(entry("Noisy"))
    runs = tmp_path / "runs"
    _interrupt_after(spec, runs, 3)
    for path in folder_of(spec, runs).worker_path.glob("checkpoint*.pt"):
        path.write_bytes(b"rubbish")
    watcher = Remember()
    assert outcome(run_worker(spec, runs, watcher)) == outcome(run_here(spec, tmp_path / "whole"))
    assert len(watcher.warnings) == 2
    assert watcher.resumed == [0]


def test_a_shortage_of_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that this machine cannot hold just now is a good one, and stays where it is."""
    checkpoint.stage(tmp_path, {"x": 1}, "run-a")
    checkpoint.commit(tmp_path)

    def spent(path: Path, identity: str) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "read", spent)
        with pytest.raises(RuntimeError, match="allocate"):
            checkpoint.load(tmp_path, "run-a")
    assert checkpoint.load(tmp_path, "run-a") == ({"x": 1}, [])


@pytest.mark.parametrize(
    ("saved", "then", "left"),
    [(1, "the run starts from the beginning", None), (2, "resumes from the previous checkpoint", {"x": 0})],
)
def test_a_damaged_checkpoint_says_what_follows(saved: int, then: str, left: Any, tmp_path: Path) -> None:
    for x in range(saved):
        checkpoint.stage(tmp_path, {"x": x}, "run-a")
        checkpoint.commit(tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"half")
    state, (warning,) = checkpoint.load(tmp_path, "run-a")
    assert then in warning
    assert state == left


@pytest.mark.slow
def test_a_corrupt_record_is_put_aside_and_the_trial_goes_on(tmp_path: Path) -> None:
    spec = spec_of(entry("Base"), smoke=True)
    first = run_worker(spec, tmp_path)
    path = folder_of(spec, tmp_path).record_path
    path.write_text(path.read_text().replace('"exhausted"', '"reached"'))
    watcher = Remember()
    assert outcome(run_worker(spec, tmp_path, watcher)) == outcome(first)
    assert any("edited" in warning for warning in watcher.warnings)
    assert (path.parent / "record.json.corrupt").exists()


def test_two_writers_never_meet(tmp_path: Path) -> None:
    spec = spec_of(entry("Base"), smoke=True)
    folder = folder_of(spec, tmp_path)
    with folder.lock(), pytest.raises(StoreError, match="already running"), folder_of(spec, tmp_path).lock(0.2):
        pass


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match="cannot write"):
        run_worker(spec_of(entry("Base"), smoke=True), tmp_path / "runs")


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_a_full_disk_interrupts_and_the_run_goes_on_later(tmp_path: Path) -> None:
    """A file-size limit stands in for a full disk: the checkpoint does not fit, and nothing written is lost."""
    spec = spec_of(entry("Slow"))
    code = _SUPERVISOR.format(run_id=layout.run_id(spec))
    job = tmp_path / "spec.json"
    job.write_bytes(msgspec.json.encode(spec))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, 24_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = subprocess.run(
        [sys.executable, "-c", code, str(job), str(tmp_path / "runs")],
        preexec_fn=limit, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["interrupted"], done.stderr
    record = folder_of(spec, tmp_path / "runs").record()
    assert record is not None
    assert "cannot write" in record.reason
    assert outcome(run_worker(spec, tmp_path / "runs")) == outcome(run_here(spec, tmp_path / "whole"))


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_a_supervisor_killed_at_once_leaves_a_record_and_no_worker(tmp_path: Path) -> None:
    spec = spec_of(entry("NeverEnds"))
    process, folder = _supervise(spec, tmp_path)
    _wait_for(lambda: (folder.worker_path / "checkpoint.pt").exists())
    process.kill()
    process.communicate()
    with folder.lock(timeout=300):
        pass  # the worker shared the lock: it is gone, too
    record = folder.record()
    assert record is not None
    assert record.status == "interrupted"


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_being_stopped_is_a_record(sent: signal.Signals, tmp_path: Path) -> None:
    spec = spec_of(entry("NeverEnds"))
    process, folder = _supervise(spec, tmp_path)
    _wait_for(lambda: (tmp_path / "evaluated").exists())
    process.send_signal(sent)
    out, _ = process.communicate(timeout=300)
    assert out.split() == ["130"]
    record = folder.record()
    assert record is not None
    assert (record.status, record.reason) == ("interrupted", "stopped by the user")
    assert len(record.points) > 1


class Dawdles(Remember):
    """Follows a run and takes its time over it, as an observer that uploads would."""

    def evaluated(self, spec: Any, point: Any) -> None:
        super().evaluated(spec, point)
        time.sleep(0.15)


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_a_slow_watcher_is_no_changed_clock(tmp_path: Path) -> None:
    watcher = Dawdles()
    record = run_worker(spec_of(entry("Slow")), tmp_path, watcher)
    assert record.status in ("reached", "exhausted"), record.reason
    assert len(watcher.points) == len(record.points)


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_a_supervisor_that_was_suspended_believes_an_honest_clock(tmp_path: Path) -> None:
    spec = spec_of(entry("Slow"))
    process, folder = _supervise(spec, tmp_path)
    checkpoint_file = folder.worker_path / "checkpoint.pt"
    _wait_for(checkpoint_file.exists)
    process.send_signal(signal.SIGSTOP)
    # Meanwhile the worker trains and is evaluated three times, or to its end.
    versions: set[int] = set()

    def has_gone_on() -> bool:
        versions.add(checkpoint_file.stat().st_ino if checkpoint_file.exists() else 0)
        return len(versions) > 3 or (folder.path / layout.FINAL_WEIGHTS).exists()

    _wait_for(has_gone_on)
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=300)
    assert out.split()[0] in ("reached", "exhausted")


@pytest.mark.slow
def test_a_failure_before_a_resumed_run_stands_loses_nothing(tmp_path: Path) -> None:
    spec = spec_of(entry("Noisy"))
    runs = tmp_path / "runs"
    _interrupt_after(spec, runs, 4)
    folder = folder_of(spec, runs)

    def fails(job: Any, receive: Any) -> None:
        receive(Done(status="out-of-memory", reason="for the time being"))

    from harness.execution.trial import run_trial

    record, _ = run_trial(spec, runs, Remember(), transport=fails)
    assert record.status == "out-of-memory"
    assert len(record.points) == 5, "what was known before is still there"
    assert (folder.worker_path / "checkpoint.pt").exists()
    watcher = Remember()
    whole = run_here(spec, runs, watcher, retry_failed=True)
    assert watcher.resumed == [5], "the retry goes on from there"
    assert outcome(whole) == outcome(run_here(spec, tmp_path / "undisturbed"))
    assert [records.read_record(p).status for p in (runs / "superseded").rglob("record.json")] == ["out-of-memory"]
    assert not (folder.worker_path / "checkpoint.pt").exists()


@pytest.mark.slow
def test_a_second_worker_that_fails_before_it_stands_loses_nothing(tmp_path: Path) -> None:
    """The first was killed on its way, so that the trial had stood once."""
    spec = spec_of(entry("Noisy"))
    runs = tmp_path / "runs"
    _interrupt_after(spec, runs, 4)
    folder = folder_of(spec, runs)
    trials: list[Trial] = []

    def transport(job: Any, receive: Any) -> None:
        trials.append(receive.__self__)
        if len(trials) > 1:
            receive(Done(status="out-of-memory", reason="for the time being"))
        else:
            receive(Ready(environment=stub.ENVIRONMENT, usage=Usage(), points=tuple(trials[0].points), resumed_from=4))
            trials[0].set_death(-signal.SIGKILL, "")

    with folder.lock():
        record = supervise(folder, spec, Remember(), earlier=folder.record(), transport=transport, persist=True)
    assert (record.status, len(trials)) == ("out-of-memory", 2)
    assert (folder.worker_path / "checkpoint.pt").exists()


def test_the_same_evaluation_over_and_over_is_no_progress(tmp_path: Path) -> None:
    """A worker that is killed each time between its evaluation and its end."""
    spec = spec_of(entry("Base"))
    trial = Trial(spec, layout.run_id(spec), Remember())
    points = tuple(
        Point(examples=16 * i, gradient_examples=16 * i, steps=i, seconds=0.0, process_seconds=0.0, metrics={})
        for i in range(3)
    )
    for death in range(DEATHS_UNTIL_CRASH):
        trial.end = None
        trial.receive(Ready(environment=stub.ENVIRONMENT, usage=Usage(), points=points[:2], resumed_from=1))
        trial.receive(Evaluated(point=points[2]))
        trial.set_death(-signal.SIGKILL, "")
        assert trial.deaths == death + 1
    assert trial.record().status == "crashed"


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_a_worker_imports_nothing_from_the_folder_it_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another checkout there would run under this one's name, and a stray module of Python's own break every trial."""
    here = tmp_path / "somewhere"
    (here / "harness").mkdir(parents=True)
    (here / "harness" / "__init__.py").write_text("raise SystemExit('this is another harness')\n")
    (here / "queue.py").write_text("raise RuntimeError('this is my own queue')\n")
    monkeypatch.chdir(here)
    record = run_worker(spec_of(entry("Base"), smoke=True), tmp_path / "runs")
    assert record.status in ("reached", "exhausted"), record.reason


def test_an_edit_after_planning_is_not_run_under_the_earlier_hash(tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text("from tests.submissions_for_tests import Base\n")
    spec = spec_of(submission(f"{source}:Base"), smoke=True)
    assert run_here(spec, tmp_path / "before").status in ("reached", "exhausted")
    source.write_text("from tests.submissions_for_tests import Noisy as Base\n")
    record = run_here(spec, tmp_path / "after")
    assert record.status == "crashed"
    assert "was edited after its trials had been planned" in record.reason


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_an_import_that_misses_a_file_is_a_crash(tmp_path: Path) -> None:
    source = tmp_path / "needs_a_file.py"
    source.write_text("open('no-such-file')\nfrom tests.submissions_for_tests import Base\n")
    record = run_worker(spec_of(submission(f"{source}:Base")), tmp_path / "runs")
    assert record.status == "crashed"
    assert "no-such-file" in record.reason


@pytest.mark.usefixtures("either_worker")
@pytest.mark.slow
def test_a_killed_writers_litter_is_cleared(tmp_path: Path) -> None:
    spec = spec_of(entry("Base"), smoke=True)
    folder = folder_of(spec, tmp_path)
    folder.worker_path.mkdir(parents=True)
    for path in (folder.path, folder.worker_path):
        (path / ".checkpoint.pt.new.123.tmp").write_bytes(b"half")
    run_worker(spec, tmp_path)
    assert not list(folder.path.rglob(".*"))


_SUPERVISOR = """
import sys
from pathlib import Path
import msgspec
from harness.errors import BenchError
from harness.contract.run import RunSpec
from tests.helpers import Remember, run_worker
from harness.storage.layout import run_id
from harness.execution.supervisor import interrupt_on_termination
spec = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=RunSpec)
assert run_id(spec) == "{run_id}"
class Marks(Remember):
    def evaluated(self, spec, point):
        super().evaluated(spec, point)
        if len(self.points) > 1:
            Path(sys.argv[1]).with_name("evaluated").touch()
try:
    with interrupt_on_termination():
        print(run_worker(spec, Path(sys.argv[2]), Marks()).status)
except BenchError as error:
    print(error.exit_code)
"""


def _supervise(spec: Any, tmp_path: Path) -> tuple[subprocess.Popen[str], Any]:
    """Supervise a trial in another process. It creates `evaluated` after the second evaluation."""
    job, runs = tmp_path / "spec.json", tmp_path / "runs"
    job.write_bytes(msgspec.json.encode(spec))
    code = _SUPERVISOR.format(run_id=layout.run_id(spec))
    process = subprocess.Popen([sys.executable, "-c", code, str(job), str(runs)], stdout=subprocess.PIPE, text=True)
    return process, folder_of(spec, runs)


def _wait_for(condition: Any, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def _interrupt_after(spec: Any, runs: Path, evaluations: int) -> None:
    """Run a trial in this process up to an evaluation, with a checkpoint after each."""
    from harness.execution.trial import run_trial
    from tests.worker.interrupt import StopAt

    with pytest.raises(Interrupted):
        run_trial(spec, runs, Remember(), transport=StopAt(evaluations + 1))
