"""Check that the hyperparameters of a record are those that planning gives to its trial.

This needs the submission: it must be installed, with the source of the record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from harness.contract.domains import HParams
from harness.contract.limits import MAX_TRIALS
from harness.contract.run import RunSpec, SubmissionRef
from harness.errors import BenchError
from harness.planning.completion import complete_submission
from harness.planning.compose import Composition, compose, parse_parts
from harness.planning.rulesets import rulesets
from harness.planning.stopping_rules import stopping_rule
from harness.planning.trials import PlanSettings, hyperparameter_settings
from harness.plugins.registry import Registry
from harness.plugins.source_hash import source_hash
from harness.verification.findings import Finding, make_finding


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The installed submission of a record, or the reason why it cannot be compared."""

    composition: Composition | None = None
    reason: str = ""


class SettingsChecker:
    """Checks the hyperparameters of records. The settings of a study are computed once.

    Args:
        registry: the installed plugins; None if no record can be checked.
    """

    def __init__(self, registry: Registry | None) -> None:
        self._registry = registry
        self._found: dict[bytes, _Found] = {}
        self._settings: dict[bytes, Sequence[HParams]] = {}

    def check(self, spec: RunSpec) -> Finding:
        """Return the finding about the hyperparameters of a trial."""
        key = msgspec.json.encode(spec.submission, order="deterministic")
        if key not in self._found:
            self._found[key] = self._find(spec.submission)
        found = self._found[key]
        if found.composition is None:
            return make_finding("settings", [], found.reason)
        try:
            return make_finding("settings", self._list_problems(spec, found.composition))
        except BenchError as error:
            return make_finding("settings", [error.what])

    def _find(self, ref: SubmissionRef) -> _Found:
        """Look up the submission of a record by its name. Nothing that the record names is imported."""
        if self._registry is None:
            return _Found(reason="no submissions are installed")
        registry, loads = self._registry, [part.load for part in ref.parts]
        entries = [entry for entry in registry.submissions() if entry.name == ref.name]
        unknown = _Found(reason=f"{ref.id} is not installed with the source of the record")
        if not ref.source_hash or not {part.load for part in registry.parts()}.issuperset(loads):
            return unknown
        try:
            if len(entries) == 1:
                # The hash is compared first, so that no code of another version is imported.
                if source_hash([*loads, *filter(None, [entries[0].load])]) != ref.source_hash:
                    return unknown
                entry = complete_submission(entries[0], registry)
            elif not entries and ref.load is None and "+" in ref.name:
                entry = parse_parts(ref.name)
            else:
                return unknown
            composition = compose(entry, registry)
        except BenchError as error:
            return _Found(reason=f"{ref.id} cannot be composed: {error.what}")
        own_loads = [part.load for part in composition.parts] + list(filter(None, [entry.load]))
        if entry.version != ref.version or source_hash(own_loads) != ref.source_hash:
            return unknown
        return _Found(composition=composition)

    def _list_problems(self, spec: RunSpec, composition: Composition) -> list[str]:
        """Return a one-line message for each problem of the hyperparameters.

        Raises:
            BenchError: a hyperparameter does not exist, is out of range, or conflicts with another hyperparameter.
        """
        if missing := [name for name in spec.overridden if name not in spec.hparams]:
            return [f"the user set {', '.join(missing[:3])}, which no hyperparameter is"]
        if not self._is_planned_by_ruleset(spec):
            return self._list_range_problems(spec, composition)
        ruleset = spec.ruleset
        if spec.study < 0 or (spec.study + 1) * max(ruleset.trials, 1) > MAX_TRIALS:
            return [f"study {spec.study} is in no plan"]
        planned = self._planned_settings(spec, composition)
        if spec.purpose == "score" and stopping_rule(ruleset.stopping).chooses_setting:
            # The setting was chosen from the tuning trials, which are not at hand here.
            if spec.trial != 0:
                return [f"trial {spec.trial} is not planned: there is one trial per study"]
            allowed = planned
        elif 0 <= spec.trial < len(planned):
            allowed = planned[spec.trial : spec.trial + 1]
        else:
            return [f"trial {spec.trial} is not planned: a study of {ruleset.id} has {len(planned)} trials"]
        wanted = min(allowed, key=lambda setting: len(_differing(spec.hparams, setting)))
        names = _differing(spec.hparams, wanted)
        values = [f"{name} is {_show(spec.hparams, name)} instead of {_show(wanted, name)}" for name in names]
        return [f"{value}, although the user did not set it" for value in values]

    @staticmethod
    def _is_planned_by_ruleset(spec: RunSpec) -> bool:
        """Return whether the ruleset alone determines the settings of a trial.

        Calibrations, envelopes, gates and searches choose settings by other rules, or from other runs.
        """
        own = rulesets().get(spec.ruleset.name)
        is_known = own is not None and own.version == spec.ruleset.version and own.name != "calibration"
        return is_known and spec.purpose in ("score", "tuning")

    def _planned_settings(self, spec: RunSpec, composition: Composition) -> Sequence[HParams]:
        """Return the settings of all trials of the study, as planning makes them."""
        # The ruleset of the benchmark is used, and not the record's, which could ask for any number of trials.
        settings = PlanSettings(
            ruleset=rulesets()[spec.ruleset.name], overrides={name: spec.hparams[name] for name in spec.overridden}
        )
        study = spec.study if settings.ruleset.tuning == "space" else 0
        parts = (spec.submission, spec.workload.facts, settings.ruleset.id, sorted(settings.overrides.items()), study)
        key = msgspec.json.encode(parts, order="deterministic")
        if key not in self._settings:
            self._settings[key] = hyperparameter_settings(composition, spec.workload.facts, settings)(study)
        return self._settings[key]

    def _list_range_problems(self, spec: RunSpec, composition: Composition) -> list[str]:
        """Return a message for each hyperparameter that is missing or has no value of its domain's type."""
        settings = PlanSettings(ruleset=rulesets()["quick"])
        [resolved] = hyperparameter_settings(composition, spec.workload.facts, settings, [spec.hparams])(0)
        names = _differing(spec.hparams, resolved)
        return [f"{name} is {_show(spec.hparams, name)}, which planning does not give" for name in names]


def _differing(setting: HParams, other: HParams) -> list[str]:
    """Return the names of the hyperparameters in which two settings differ by more than rounding."""

    def equal(name: str) -> bool:
        a, b = setting.get(name), other.get(name)
        # Drawn values are rounded to six digits, and the last digit may depend on the processor.
        return a == b or (isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=1e-5))

    return sorted(name for name in setting.keys() | other.keys() if not equal(name))


def _show(setting: HParams, name: str) -> str:
    return str(setting[name])[:80] if name in setting else "missing"
