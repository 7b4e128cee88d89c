"""Prepare the exact repetition of a run with the same seeds, and compare its record with the original record."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Iterator

import msgspec

from harness.contract.record import Record
from harness.contract.run import Point, RunSpec
from harness.errors import UsageError
from harness.hardware import detect
from harness.plugins.source_hash import source_hash

#: The fields of a point that depend on the machine's speed.
_TIMES = frozenset({"seconds", "process_seconds"})
#: Fields that not every point has: older records lack them, or only an option adds them. They are compared only if both
#: points have them.
_OPTIONAL = frozenset({"mean_train_loss", "grad_norm"})
#: The fields of a point in which a screened evaluation differs from an evaluation of the whole split.
_EVALUATION = frozenset({"metrics", "evaluated_examples", "se"})


def require_source(spec: RunSpec, part_loads: Collection[str]) -> None:
    """Check that the installed source of a submission is the one that ran.

    Args:
        spec: the specification of the run.
        part_loads: import paths of the installed parts. A record may not name other functions as parts.

    Raises:
        UsageError: the record has no hash of the source, the installed source has another hash, or a part is not
            installed.
    """
    submission = spec.submission
    if not submission.source_hash:
        raise UsageError(
            f"the record has no hash of the source of {submission.id}",
            fix="run the submission with bench run, and compare the runs with bench diff",
        )
    if unknown := [part.load for part in submission.parts if part.load not in part_loads]:
        raise UsageError(
            f"{submission.id} consists of parts that are not installed: {', '.join(unknown[:3])}",
            fix="install the plugin that offers them (bench list --all prints the installed parts)",
        )
    loads = [part.load for part in submission.parts] + ([submission.load] if submission.load else [])
    at_hand = source_hash(loads)
    if at_hand != submission.source_hash:
        raise UsageError(
            f"the source of {submission.id} at hand has the hash {at_hand[:12]}, but the record was made with "
            f"{submission.source_hash[:12]}",
            fix="check out the version that the record names (bench show RUN prints its git commit), or give its file "
            "with --source",
        )


def find_environment_difference(record: Record) -> str:
    """Return why this machine cannot repeat a run exactly; empty if it can repeat the run."""
    spec, environment = record.spec, record.environment
    if environment is None:
        return "the record does not describe its environment"
    on_gpu = spec.device != "cpu"
    if on_gpu and not spec.deterministic:
        return "the run used a GPU without deterministic kernels"
    fields = {
        "processor": (environment.hardware_name, detect.cpu_name()),
        "torch": (environment.torch, _version("torch")),
        "hardware class": (spec.hardware, detect.hardware_class(spec.device, spec.threads, spec.ranks)),
    }
    differences = [
        f"{name} was {recorded} in the run and is {present} here"
        for name, (recorded, present) in fields.items()
        if recorded != present
    ]
    return "; ".join(differences)


def repeated_spec(record: Record) -> RunSpec:
    """Return the specification with which a run is repeated exactly.

    If the original run had no screened evaluations, it is repeated without them. The specification of an old record
    does not say so: its field `screening` is missing, and the default allows screened evaluations.
    """
    screened = record.screening is not None or any(point.screened for point in record.points)
    return record.spec if screened else msgspec.structs.replace(record.spec, screening=False)


def list_repetition_differences(original: Record, repeated: Record) -> list[str]:
    """Return one-line messages about the differences between a run and its exact repetition.

    Of the points that differ, only the first is described.
    """
    differences = [
        f"{name} is {getattr(repeated, name)} instead of {getattr(original, name)}"
        for name in ("status", "hit", "stage_hits", "final_weights", "crossing_weights")
        if getattr(original, name) != getattr(repeated, name)
    ]
    if len(original.points) != len(repeated.points):
        differences.append(f"{len(repeated.points)} points instead of {len(original.points)}")
    for index, (original_point, repeated_point) in enumerate(zip(original.points, repeated.points, strict=False)):
        fields = [
            f"{name} {getattr(repeated_point, name)} instead of {getattr(original_point, name)}"
            for name in _differing(original_point, repeated_point)
        ]
        if fields:
            return [*differences, f"point {index}: {', '.join(fields)}"]
    return differences


def _differing(original: Point, repeated: Point) -> Iterator[str]:
    """Yield the names of the fields, other than times, in which two points differ."""
    for name in Point.__struct_fields__:
        a, b = getattr(original, name), getattr(repeated, name)
        is_incomparable = (
            name in _TIMES
            or (name in _OPTIONAL and (a is None or b is None))
            or (name in _EVALUATION and original.screened != repeated.screened)
        )
        if not is_incomparable and a != b:
            yield name


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "none"
