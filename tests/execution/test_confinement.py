"""The sandbox of a trial in its record, and the data that is opened before it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.contract.events import Confined, Done, Evaluated, Ready
from harness.contract.record import Usage
from harness.contract.run import ExecutionOptions, Job, Point, RunSpec
from harness.contract.sandbox import SandboxOffer, SandboxRequest
from harness.datasets.prepared import find_unprepared, write_manifest
from harness.execution import confinement, launching
from harness.execution.local import execute
from harness.execution.state import Trial
from harness.storage.layout import run_id
from harness.system import sandbox
from harness.worker import process
from tests.execution import stub
from tests.execution.helpers import stub_specs
from tests.helpers import Remember, run_here, spec_of, submission

READY = Ready(environment=stub.ENVIRONMENT, usage=Usage())
POINT = Point(examples=16, gradient_examples=16, steps=1, seconds=0.0, process_seconds=0.0, metrics={})


@pytest.mark.parametrize("setting", ["auto", "none"])
def test_the_record_names_the_sandbox_that_the_kernel_gives(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "WORKER", stub.COMMAND)
    monkeypatch.setattr(confinement, "find_unprepared", lambda spec: ())
    monkeypatch.setenv(sandbox.VARIABLE, setting)
    watcher = Remember()
    list(execute(stub_specs(1, evaluations=2), tmp_path, watcher, ExecutionOptions(fresh_workers=True)))
    (record,) = watcher.records
    assert (record.status, record.sandbox) == ("exhausted", sandbox.find_offer(tmp_path).name)


def test_a_run_in_this_process_has_no_sandbox(tmp_path: Path) -> None:
    spec = spec_of(submission("tests.submissions_for_tests:Base"), smoke=True)
    assert run_here(spec, tmp_path).sandbox == "none"


def new_trial() -> Trial:
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    return Trial(spec, run_id(spec), Remember())


def test_only_the_first_event_of_a_worker_names_its_sandbox() -> None:
    """A submission can write to the pipe of the events, but only after that event."""
    trial = new_trial()
    assert trial.record().sandbox == ""
    trial.enter_start_phase()
    for event in (Confined(sandbox="none"), READY, Confined(sandbox="landlock-abi7")):
        trial.receive(event)
    assert trial.record().sandbox == "none"


def test_building_includes_the_time_in_which_the_data_was_opened() -> None:
    trial = new_trial()
    trial.enter_start_phase()
    trial.receive(Confined(sandbox="none", opening_seconds=1.5))
    usage = Usage(parameters=1, build_seconds=0.25)
    trial.receive(msgspec.structs.replace(READY, usage=usage))
    trial.receive(Confined(sandbox="none", opening_seconds=9.0))  # sent by the submission
    assert trial.record().usage.build_seconds == 1.75


def test_a_run_of_several_workers_has_their_weakest_sandbox() -> None:
    trial = new_trial()
    trial.enter_start_phase()
    trial.receive(Confined(sandbox="none"))  # this worker ends before its first evaluation
    for name, expected in (
        ("landlock-abi7", "landlock-abi7"),
        ("namespaces", "namespaces"),
        ("landlock-abi7", "namespaces"),
    ):
        trial.enter_start_phase()
        trial.receive(Confined(sandbox=name))
        trial.receive(msgspec.structs.replace(READY, points=tuple(trial.points)))
        trial.receive(Evaluated(point=POINT))
        assert trial.record().sandbox == expected
    resumed = Trial.continue_from(trial.record(), trial.spec, trial.run_id, Remember())
    resumed.enter_start_phase()
    resumed.receive(Confined(sandbox="landlock-abi7+namespaces"))
    assert resumed.record().sandbox == "namespaces"


def test_a_kernel_that_refuses_what_it_has_offered_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: SandboxRequest) -> str:
        raise PermissionError(1, "unshare: Operation not permitted")

    monkeypatch.setattr(sandbox, "enter", refuse)
    job = Job(
        spec=new_trial().spec,
        folder=str(tmp_path),
        evaluation_folder=str(tmp_path),
        sandbox=SandboxRequest(offer=SandboxOffer(namespaces=True)),
    )
    assert process.enter_sandbox(job) == Done(
        status="crashed",
        reason="the sandbox namespaces cannot be entered ([Errno 1] unshare: Operation not permitted); run with "
        "BENCH_SANDBOX=none",
    )


# --- data ---------------------------------------------------------------------------------------


def test_data_are_opened_once_and_again_after_they_were_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    parts = find_unprepared(spec)
    assert [part.part for part in parts] == ["train", "score"]
    entry = tmp_path / "generated" / "entry.arrays"
    entry.touch()
    for part in parts:
        write_manifest(part, [str(entry)])
    assert find_unprepared(spec) == ()
    other_seed = msgspec.structs.replace(spec, seeds=msgspec.structs.replace(spec.seeds, data=1))
    assert [part.part for part in find_unprepared(other_seed)] == ["train"]
    entry.unlink()
    assert find_unprepared(spec) == parts
    Path(parts[0].manifest).write_text("no JSON")
    assert find_unprepared(spec) == parts


def test_training_data_that_leave_nothing_in_the_cache_are_opened_once_for_all_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    dataset = tmp_path / "dataset"
    dataset.touch()
    for part in find_unprepared(spec):
        write_manifest(part, [str(dataset)])
    other_seed = msgspec.structs.replace(spec, seeds=msgspec.structs.replace(spec.seeds, data=1))
    assert find_unprepared(other_seed) == ()
    dataset.unlink()
    assert [part.part for part in find_unprepared(other_seed)] == ["train", "score"]


def test_cached_training_data_that_do_not_depend_on_the_seed_are_opened_for_two_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    find_unprepared(spec)  # makes the folder
    entry = tmp_path / "generated" / "entry.arrays"
    entry.touch()
    other, third, fourth = (
        msgspec.structs.replace(spec, seeds=msgspec.structs.replace(spec.seeds, data=data)) for data in (1, 2, 3)
    )

    def prepare(seeded: RunSpec, file: Path) -> None:
        (train,) = (part for part in find_unprepared(seeded) if part.part == "train")
        write_manifest(train, [str(file)])

    prepare(spec, entry)
    own = tmp_path / "generated" / "other.arrays"
    own.touch()
    prepare(other, own)  # differs from the files of the first seed, so nothing is assumed
    assert "train" in [part.part for part in find_unprepared(third)]
    prepare(third, own)  # the same files as for the seed before
    assert "train" not in [part.part for part in find_unprepared(fourth)]
    own.unlink()
    assert "train" in [part.part for part in find_unprepared(fourth)]


def test_one_seed_that_is_prepared_twice_says_nothing_about_other_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    train = find_unprepared(spec)[0]
    entry = tmp_path / "generated" / "entry.arrays"
    entry.touch()
    write_manifest(train, [str(entry)])
    write_manifest(train, [str(entry)])
    other = msgspec.structs.replace(spec, seeds=msgspec.structs.replace(spec.seeds, data=1))
    assert "train" in [part.part for part in find_unprepared(other)]


def test_nothing_is_prepared_where_nothing_can_be_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "file"))
    assert find_unprepared(spec_of(submission("tests.submissions_for_tests:Base"))) == ()


def test_the_data_of_a_workload_can_be_read_and_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own copy of a dataset is a link in the data folder; its target must be readable."""
    copy = tmp_path / "copy"
    copy.mkdir()
    (tmp_path / "data" / "dataset").mkdir(parents=True)
    (tmp_path / "data" / "dataset" / "folder").symlink_to(copy)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(sandbox, "find_offer", lambda folder: SandboxOffer(landlock=1))
    file = tmp_path / "mine" / "mine.py"
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    spec = msgspec.structs.replace(spec, submission=msgspec.structs.replace(spec.submission, load=f"{file}:Mine"))
    file.parent.mkdir()
    file.touch()
    own = tmp_path / "runs" / "own"
    own.mkdir(parents=True)
    request = confinement.sandbox_request(spec, own, own.parent)
    assert {str(copy), str(tmp_path / "data"), str(file)} <= set(request.readable)
    assert request.writable == (str(own),)
    assert str(file.parent) not in request.readable
