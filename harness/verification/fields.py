"""Check that fields of a record have possible values: its times, its machine, and the resources that it used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from harness.contract.record import ON_CLOCK, Ledger, Record, Spent
from harness.hardware.classes import slug

#: Seconds by which the clock of the run's machine may be ahead of the clock of this machine.
_CLOCK_ERROR_S = 86_400.0
#: The devices on which trials can be planned.
_DEVICE = re.compile(r"cpu|mps|cuda(:[0-9]+)?")
#: The phases on the clock and the scored time may differ by this number of seconds plus this share of the scored time.
#: The largest differences in published records are 2.7 s, and 2 % in runs of more than 30 s.
_PHASE_ERROR_S, _PHASE_ERROR_SHARE = 10.0, 0.25


def list_field_problems(record: Record, now: float) -> list[str]:
    """Return a one-line message for each impossible value.

    The types and the ranges of integers are checked when a record is decoded.

    Args:
        record: the record.
        now: present time in seconds since 1970.
    """
    return [
        *_time_problems(record, now),
        *_machine_problems(record),
        *_amount_problems(record),
        *_phase_problems(record),
    ]


def _time_problems(record: Record, now: float) -> Iterator[str]:
    """Yield the problems of the start and the end. Tables order runs by their start."""
    seconds: dict[str, float | None] = {}
    for name in ("started", "finished"):
        text = getattr(record, name)
        # The record of a run that has not ended has no end.
        if not text and record.status == "interrupted":
            continue
        seconds[name] = _read_time(text)
        if seconds[name] is None:
            yield f"{name} is {text!r}, which is not a time in UTC such as 2026-01-31T12:00:00+00:00"
    started, finished = seconds.get("started"), seconds.get("finished")
    if started is not None and finished is not None and finished < started:
        yield f"it finished at {record.finished}, before its start at {record.started}"
    if any(time is not None and time > now + _CLOCK_ERROR_S for time in (started, finished)):
        yield f"it ran from {record.started} to {record.finished}, which is in the future"


def _read_time(text: str) -> float | None:
    """Return a time in seconds since 1970; None if the text is not a time in UTC in the form of records.

    There is one form, because tables sort the texts.
    """
    try:
        time = datetime.fromisoformat(text)
        return time.timestamp() if time.utcoffset() == timedelta(0) and time.isoformat() == text else None
    except (ValueError, OverflowError):
        return None


def _machine_problems(record: Record) -> Iterator[str]:
    spec, environment = record.spec, record.environment
    if not _DEVICE.fullmatch(spec.device):
        yield f"the device {spec.device!r} does not exist"
    if environment is None:
        return
    if environment.threads != spec.threads:
        yield f"the worker had {environment.threads} threads, but {spec.threads} were specified"
    if not environment.cpu_count:
        yield "the machine has no processor"
    processor = slug(environment.hardware_name)
    count = f"{spec.ranks}x" if spec.ranks > 1 else ""
    is_possible = spec.hardware.startswith(f"{count}cpu-{processor}-") and spec.hardware.endswith(f"-{spec.threads}t")
    if spec.device == "cpu" and not is_possible:
        yield f"the hardware class is {spec.hardware}, but the worker ran on {environment.hardware_name!r}"


def _amount_problems(record: Record) -> Iterator[str]:
    """Yield a message for each amount that is negative. Integers are checked when the record is decoded."""
    usage, screening, ledger = record.usage, record.screening, record.ledger
    amounts = [
        ("usage.import_seconds", usage.import_seconds),
        ("usage.evaluation_seconds", usage.evaluation_seconds),
        ("usage.checkpoint_seconds", usage.checkpoint_seconds),
        ("usage.start_seconds", usage.start_seconds),
        ("usage.build_seconds", usage.build_seconds),
        *record.profile.items(),
    ]
    if screening is not None:
        amounts.append(("screening.screened_seconds", screening.screened_seconds))
        amounts.append(("screening.whole_seconds", screening.whole_seconds))
    if ledger is not None:
        amounts += [("ledger.helper_seconds", ledger.helper_seconds), *ledger.helpers.items()]
    yield from (f"{name} is {value:g}, but cannot be negative" for name, value in amounts if not value >= 0)
    if screening is not None and not screening.screened <= screening.evaluations:
        yield f"{screening.screened} of {screening.evaluations} evaluations are screened"


def _phase_problems(record: Record) -> Iterator[str]:
    """Yield the contradictions between the times of the phases and the scored time."""
    ledger = record.ledger
    if ledger is None:
        return
    lost = _sum(restart.lost for restart in ledger.restarts)
    for spent in (*ledger.phases.values(), *(restart.lost for restart in ledger.restarts)):
        if not min(spent.seconds, spent.process_seconds) >= 0:
            yield "the time of a phase or of a restart is negative"
            return
    if not ledger.phases:
        return
    on_clock = _sum(spent for phase, spent in ledger.phases.items() if phase in ON_CLOCK)
    yield from _differences(record, ledger, on_clock, lost)


def _differences(record: Record, ledger: Ledger, on_clock: Spent, lost: Spent) -> Iterator[str]:
    names = ["seconds"]
    # The supervisor measures the processor seconds of the first rank, and the scored ones are those of all ranks.
    if record.spec.ranks == 1:
        names.append("process_seconds")
    for name in names:
        scored, measured = getattr(record.counters, name), getattr(on_clock, name)
        allowed = _PHASE_ERROR_S + _PHASE_ERROR_SHARE * scored + getattr(lost, name)
        # The scored processor seconds include those of helpers while the clock was stopped.
        if name == "process_seconds":
            allowed += ledger.helper_seconds
        if abs(measured - scored) > allowed:
            yield f"the phases on the clock took {measured:g} {name}, but the run took {scored:g}"


def _sum(times: Iterable[Spent]) -> Spent:
    listed = list(times)
    return Spent(
        seconds=sum(time.seconds for time in listed), process_seconds=sum(time.process_seconds for time in listed)
    )
