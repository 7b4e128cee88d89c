"""Opens a trial's data in a process without the submission. This process may fill the cache of generated data."""

from __future__ import annotations

import os
import sys
import traceback

from harness.contract.prepared import PreparedData
from harness.contract.run import Job
from harness.datasets.paths import data_folder
from harness.datasets.prepared import write_manifest


def prepare_data(job: Job) -> None:
    """Open the parts of a trial's data that are not prepared, write their manifests, and end this process.

    Errors are only written to the log, because the worker then opens the data itself and reports the error.
    """
    try:
        for part in job.unprepared:
            _prepare(job, part)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


def _prepare(job: Job, unprepared: PreparedData) -> None:
    # These modules import torch. They are not imported at the top of this file, so that a fresh worker with prepared
    # data imports torch only in its sandbox.
    from harness.worker import rng
    from harness.worker.evaluation import evaluate_split
    from harness.worker.loading import load_workload

    opened: list[str] = []
    data = str(data_folder())
    sys.addaudithook(lambda event, arguments: _note_opened(event, arguments, data, opened))
    spec = job.spec
    workload = load_workload(spec)
    rng.seed_everything(spec.seeds.model)
    if unprepared.part == "train":
        workload.train_data(spec.seeds.data)
    else:
        model = workload.build_model(spec.seeds.model, **spec.submission.model_options)
        stage = len(spec.workload.facts.stages) - 1 if spec.workload.facts.stages else None
        evaluate_split(workload, model, unprepared.part, stage)
    # A file may have been renamed or removed after it was opened.
    write_manifest(unprepared, filter(os.path.exists, opened))


def _note_opened(event: str, arguments: tuple[object, ...], data: str, opened: list[str]) -> None:
    """If an audit event of Python reports that a file in the data folder is opened, append its path to `opened`."""
    if event == "open" and isinstance(arguments[0], str | os.PathLike):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if path.startswith(data + os.sep):
            opened.append(path)
