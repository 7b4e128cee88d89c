"""Gives trials short names for the progress display."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from harness.contract.domains import Scalar
from harness.contract.run import RunSpec
from harness.report import text


class TrialTitles:
    """The names of the trials of a command.

    A name contains the submission, the workload and some hyperparameters. These are the hyperparameters that the user
    set, and those that differ between the trials of the submission on the workload. The numbers of the study and the
    trial are also in the name, unless they are 0.

    Args:
        specs: the trials that are known beforehand.
    """

    def __init__(self, specs: Iterable[RunSpec] = ()) -> None:
        values: dict[tuple[str, str], dict[str, set[Scalar]]] = defaultdict(lambda: defaultdict(set))
        for spec in specs:
            by_name = values[_pair_key(spec)]
            for name, value in spec.hparams.items():
                by_name[name].add(value)
        self._varied = {
            pair: [name for name, distinct in by_name.items() if len(distinct) > 1] for pair, by_name in values.items()
        }

    def title(self, spec: RunSpec) -> str:
        """Return a trial's name, such as `wsd on lm-tiny study 1 lr=0.003`."""
        names = dict.fromkeys((*spec.overridden, *self._varied.get(_pair_key(spec), ())))
        study = f" study {spec.study}" if spec.study else ""
        trial = f" trial {spec.trial}" if spec.trial else ""
        settings = "".join(f" {name}={_format_value(spec.hparams[name])}" for name in names if name in spec.hparams)
        return f"{spec.submission.name} on {spec.workload.facts.name}{study}{trial}{settings}"


def _pair_key(spec: RunSpec) -> tuple[str, str]:
    return spec.submission.name, spec.workload.facts.name


def _format_value(value: Scalar) -> str:
    return text.number(value) if isinstance(value, float) else str(value)
