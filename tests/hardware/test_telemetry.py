"""GPUs watched while the clock stands still: when they are read, what is kept, and what tables say of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from harness.contract.events import ClockChanged, DevicesSampled, WorkerEvent
from harness.contract.record import Device, DeviceLog, GpuSample
from harness.contract.run import RunSpec
from harness.execution import event_reader, trial_processes, worker_process
from harness.execution.state import ResourceSlot
from harness.hardware import detect
from harness.hardware.drivers import Gpu
from harness.hardware.telemetry import FAST_READ_S, MIN_INTERVAL_S, DeviceWatch, make_watch, merge_logs
from harness.report.run_diff import differences
from harness.scoring.leaderboard import build_leaderboards
from harness.scoring.summary import LeaderboardQuery, summarize
from harness.scoring.throttling import slowdown
from harness.storage import records
from tests.helpers import run_worker, spec_of, submission
from tests.scoring import builders

GPU = Gpu(index=0, uuid="GPU-a", device=Device(name="NVIDIA H200", memory_mib=143_771, driver="570.86.15"))


class Clock:
    """Time that moves only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Fake:
    """A driver that takes so long to answer, and lets a test do something while it does."""

    name = "fake"

    def __init__(self, clock: Clock, cost: float = 0.001, slowed: tuple[str, ...] = ()) -> None:
        self.clock = clock
        self.cost = cost
        self.slowed = slowed
        self.meanwhile: Callable[[], None] = lambda: None
        self.reads = 0

    def gpus(self) -> tuple[Gpu, ...]:
        return (GPU,)

    def read(self, gpus: Sequence[Gpu]) -> list[GpuSample]:
        self.reads += 1
        self.clock.now += self.cost
        self.meanwhile()
        return [
            GpuSample(device=gpu.index, sm_mhz=1755, power_w=690.0, temperature_c=64, slowed=self.slowed)
            for gpu in gpus
        ]


class Watching:
    """A watch with its thread, and a way to wait until it has nothing left to do."""

    def __init__(self, driver: Fake) -> None:
        self.told: list[DevicesSampled] = []
        self.driver = driver
        self.changed = threading.Condition()
        self.watch = DeviceWatch(driver, (GPU,), self._tell, driver.clock)
        self.watch.start()
        self.until(lambda: bool(self.told))

    def _tell(self, event: DevicesSampled) -> None:
        with self.changed:
            self.told.append(event)
            self.changed.notify()

    def until(self, true: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(true, 10)

    def record_edge(self, running: bool, seconds: float = 0.0) -> None:
        self.watch.record_edge(ClockChanged(running=running, seconds=seconds, process_seconds=0.0))

    @property
    def readings(self) -> list[GpuSample]:
        return [reading for event in self.told for reading in event.log.readings]


def _idle(watching: Watching) -> None:
    """Wait until the watch has taken note of the last edge."""
    condition = watching.watch._changed
    for _ in range(10_000):
        with condition:
            if watching.watch._edge is None:
                return
        threading.Event().wait(0.001)
    raise AssertionError("the watch is stuck")


def test_the_gpus_are_told_first_and_without_readings() -> None:
    watching = Watching(Fake(Clock()))
    watching.watch.end()
    assert watching.told == [DevicesSampled(log=DeviceLog(by="fake", devices=(GPU.device,)))]
    assert not watching.watch.is_alive()


def test_a_pause_is_read_and_a_running_clock_is_not() -> None:
    clock = Clock()
    watching = Watching(Fake(clock))
    before = watching.driver.reads
    watching.record_edge(True)
    _idle(watching)
    assert watching.driver.reads == before
    clock.now += 5.0
    watching.record_edge(False, seconds=5.0)
    watching.until(lambda: len(watching.readings) == 1)
    watching.watch.end()
    (reading,) = watching.readings
    assert (reading.seconds, reading.sm_mhz, reading.power_w) == (5.0, 1755, 690.0)


def test_readings_keep_their_distance() -> None:
    clock = Clock()
    watching = Watching(Fake(clock))
    for apart in (2 * MIN_INTERVAL_S, MIN_INTERVAL_S / 2, 2 * MIN_INTERVAL_S):
        clock.now += apart
        watching.record_edge(True)
        watching.record_edge(False, seconds=clock.now)
        _idle(watching)
    watching.until(lambda: len(watching.readings) == 2)
    watching.watch.end()
    assert len(watching.readings) == 2


@pytest.mark.parametrize(("pause", "read"), [(2 * FAST_READ_S, False), (100 * FAST_READ_S, True)])
def test_a_slow_driver_is_asked_only_where_pauses_have_room(pause: float, read: bool) -> None:
    """nvidia-smi takes longer than a short evaluation: it would still be at work in the next timed step."""
    clock = Clock()
    watching = Watching(Fake(clock, cost=10 * FAST_READ_S))
    before = watching.driver.reads
    for number in range(6):
        clock.now += 10.0
        watching.record_edge(False, seconds=float(number))
        _idle(watching)
        if number < 4:
            assert watching.driver.reads == before, "nothing is known of the pauses yet"
        clock.now += pause
        watching.record_edge(True)
        _idle(watching)
    if read:
        watching.until(lambda: bool(watching.readings))
    watching.watch.end()
    assert bool(watching.readings) is read


def test_what_the_clock_overtakes_is_thrown_away() -> None:
    clock = Clock()
    watching = Watching(Fake(clock))
    clock.now += 10.0
    seen = threading.Event()

    def resume() -> None:
        watching.driver.meanwhile = lambda: None
        watching.record_edge(True)
        seen.set()

    watching.driver.meanwhile = resume
    watching.record_edge(False, seconds=1.0)
    assert seen.wait(10)
    clock.now += 10.0
    watching.record_edge(False, seconds=2.0)
    watching.until(lambda: bool(watching.readings))
    watching.watch.end()
    assert [reading.seconds for reading in watching.readings] == [2.0]


def test_a_run_on_the_processor_is_not_watched() -> None:
    assert make_watch(builders.spec(), lambda event: None) is None


def test_a_trial_is_watched_on_the_gpus_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [Gpu(index=k, uuid=f"GPU-{k}", device=GPU.device) for k in range(4)]
    monkeypatch.setattr(detect, "all_gpus", lambda: tuple(gpus))
    monkeypatch.setattr(detect, "find_driver", lambda: Fake(Clock()))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for device, ranks, own, indices in (("cuda", 1, ("2",), [2]), ("cuda", 2, (), [0, 1]), ("cuda:3", 1, (), [3])):
        made = make_watch(builders.spec(device=device, ranks=ranks), lambda event: None, own)
        assert made is not None
        assert [gpu.index for gpu in made._gpus] == indices
    monkeypatch.setattr(detect, "all_gpus", lambda: ())
    assert make_watch(builders.spec(device="cuda"), lambda event: None) is None


def test_cards_are_numbered_as_the_driver_numbers_them(tmp_path: Path) -> None:
    """CUDA's own order is by speed, and a reading would then be of another card than the run's."""
    environment = trial_processes.worker_environment(builders.spec(), tmp_path, ResourceSlot(gpus=("2",)))
    assert (environment["CUDA_DEVICE_ORDER"], environment["CUDA_VISIBLE_DEVICES"]) == ("PCI_BUS_ID", "2")


@pytest.mark.slow
def test_a_trial_on_a_gpu_has_its_readings_in_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way, with a processor that passes for a GPU: worker, pauses, watch, supervisor, record, file."""
    driver = Fake(Clock())
    driver.clock.now = 0.0

    def watched(spec: RunSpec, tell: Callable[[DevicesSampled], None], own: Sequence[str] = ()) -> DeviceWatch:
        return DeviceWatch(driver, (GPU,), tell)

    monkeypatch.setattr(worker_process, "make_watch", watched)
    monkeypatch.setattr("harness.hardware.telemetry.MIN_INTERVAL_S", 0.0)
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", root)
    record = run_worker(spec_of(submission("tests.submissions_for_tests:Base")), tmp_path)
    assert record.status in ("reached", "exhausted")
    assert record.devices is not None
    assert (record.devices.by, record.devices.devices) == ("fake", (GPU.device,))
    stops = {0.0, *(point.seconds for point in record.points)}
    assert record.devices.readings
    # At an evaluation, or at the end of what it costs to put the weights back.
    assert all(min(abs(r.seconds - s) for s in stops) < 0.5 for r in record.devices.readings)
    assert records.decode(records.encode(record), "here") == records.add_content_hash(record)


def test_a_worker_cannot_send_readings() -> None:
    event = DevicesSampled(log=DeviceLog(by="me", devices=(GPU.device,)))
    decoder = msgspec.json.Decoder(WorkerEvent)
    done = event_reader.decode_event(decoder, msgspec.json.encode(event))
    assert "invalid event" in getattr(done, "reason", "")


def test_readings_go_on_after_an_interruption() -> None:
    one, two = (DeviceLog(by="NVML", devices=(GPU.device,), readings=(GpuSample(device=0, sm_mhz=s),)) for s in (1, 2))
    assert [r.sm_mhz for r in merge_logs(merge_logs(None, one), two).readings] == [1, 2]


def test_records_from_before_the_readings_are_read() -> None:
    record = records.add_content_hash(builders.record())
    plain = msgspec.json.decode(records.encode(record))
    del plain["devices"]
    plain["content_hash"] = records.content_hash(msgspec.json.encode(plain))
    assert records.decode(msgspec.json.encode(plain), "old").devices is None


def _log(*slowed: tuple[str, ...]) -> DeviceLog:
    readings = tuple(GpuSample(device=0, sm_mhz=900 if why else 1755, temperature_c=90, slowed=why) for why in slowed)
    return DeviceLog(by="NVML", devices=(GPU.device,), readings=readings)


HEAT = ("hardware thermal slowdown", "power limit")


@pytest.mark.parametrize(
    ("log", "says"),
    [
        (None, ""),
        (_log(), ""),
        (_log((), ("idle",), ("power limit",)), ""),
        (_log(HEAT, ()), "hardware thermal slowdown in 1 of 2 readings, down to 900 MHz, up to 90 °C"),
        (_log(HEAT, *[()] * 99), ""),
        (_log(*[HEAT] * 5, *[()] * 95), "hardware thermal slowdown in 5 of 100 readings, down to 900 MHz, up to 90 °C"),
    ],
)
def test_what_counts_as_slowed_down(log: DeviceLog | None, says: str) -> None:
    assert slowdown(log) == says


def test_two_runs_differ_by_their_clocks() -> None:
    one, two = (builders.record(builders.spec(n), devices=log) for n, log in (("a", _log(HEAT)), ("b", _log(()))))
    found = differences(one, two)["environment"]
    assert found["gpus.sm_mhz"] == (900.0, 1755.0)
    assert found["gpus.slowdown"][1] == "none"
    assert "gpus.devices" not in found, "they are of one kind"
    assert differences(builders.record(), builders.record(builders.spec("b")))["environment"] == {}


def test_a_table_says_which_runs_were_slowed_down() -> None:
    hot = builders.record(devices=_log(HEAT))
    cool = builders.record(builders.spec("b"), devices=_log(()))
    query = LeaderboardQuery(by="time")
    (table,) = build_leaderboards([summarize(record, query) for record in (hot, cool)], query)
    (line,) = [line for line in table.notes if "throttled" in line]
    assert line.startswith("1 of 2 runs were on a throttled GPU")
    assert hot.run_id in line
    assert cool.run_id not in line
    (table,) = build_leaderboards([summarize(cool, query)], query)
    assert not [line for line in table.notes if "throttled" in line]
