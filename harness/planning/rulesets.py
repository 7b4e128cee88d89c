"""Read and validate rulesets: those of the benchmark, and those in YAML files of users."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.entries import NEEDS
from harness.contract.limits import check_integers
from harness.contract.ruleset import Ruleset
from harness.errors import DamagedError, StoreError, UsageError, unknown_name_error
from harness.planning.internal_rulesets import INTERNAL_RULESETS
from harness.planning.stopping_rules import STOPPING_RULES, stopping_rule
from harness.system.yaml_text import read_yaml

_FILE = Path(__file__).with_name("rulesets.yaml")
#: Maximum of `budget_factor`. With a larger factor, a budget might not fit into an integer of 64 bits.
_MAX_BUDGET_FACTOR = 1_000_000
#: The name of a user's ruleset. Records and tables contain it, and `@` separates it from the version.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


@functools.cache
def rulesets() -> Mapping[str, Ruleset]:
    """Return the rulesets that come with the benchmark, by name."""
    return {name: _ruleset(name, fields, _FILE) for name, fields in _read(_FILE).items()}


def ruleset(name: str) -> Ruleset:
    """Return the ruleset of the benchmark with a name, or the ruleset in a YAML file.

    Results under a ruleset from a file are never ranked.

    Raises:
        UsageError: no ruleset has this name, or the file is invalid. The message names the invalid field.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        defined = _ruleset(path.stem, _read(path), path)
        _check_name(defined.name, path)
        # Results under a user's ruleset cannot be compared with published results.
        return msgspec.structs.replace(defined, ranked=False)
    known = rulesets()
    if name not in known:
        raise unknown_name_error("ruleset", name, known)
    return known[name]


def _check_name(name: str, path: Path) -> None:
    """Raise an error if a user's ruleset has the name of a ruleset of the benchmark, or a name with other characters.

    The field `name` overrides the name of the file.
    """
    fix = "give the file, or its field `name`, another name"
    if name in rulesets() or name in INTERNAL_RULESETS:
        raise UsageError(f"{path}: {name} is a ruleset of the benchmark", fix=fix)
    if not _NAME.fullmatch(name):
        problem = "must have 1 to 100 characters: letters, digits, - and _"
        raise UsageError(f"{path}: the name of the ruleset, {name[:100]!r}, {problem}", fix=fix)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except StoreError as error:
        is_damaged = isinstance(error, DamagedError)
        fix = "see harness/planning/rulesets.yaml" if is_damaged else "give the name of a ruleset or the path of a file"
        raise UsageError(error.what, fix=fix) from None
    if not isinstance(content, dict):
        raise UsageError(
            f"{path} must be a mapping of the fields of a ruleset", fix="see harness/planning/rulesets.yaml"
        )
    return content


def _ruleset(name: str, fields: dict[str, Any], path: Path) -> Ruleset:
    # The ranges are checked first, because their messages are clearer than those of the conversion.
    counts = {field: fields.get(field) for field in ("studies", "trials", "tuning_studies")}
    check_integers({k: v for k, v in counts.items() if isinstance(v, int)}, f"{path}: ruleset {name!r}")
    try:
        ruleset = msgspec.convert({"name": name, "version": "1", "summary": "", **fields}, Ruleset)
    except (msgspec.ValidationError, TypeError) as error:
        raise UsageError(
            f"{path}: ruleset {name!r}: {error}", fix="see harness/planning/rulesets.yaml for the fields"
        ) from None
    problems = {
        f"budget_factor must be above 0 and at most {_MAX_BUDGET_FACTOR:,}": (
            not 0 < ruleset.budget_factor <= _MAX_BUDGET_FACTOR
        ),
        "stop_share must be in (0, 1]": not 0 < ruleset.stop_share <= 1,
    }
    if ruleset.stopping not in STOPPING_RULES:
        unknown = unknown_name_error("kind of stopping", ruleset.stopping, STOPPING_RULES)
        raise UsageError(f"{path}: ruleset {name!r}: {unknown.what}", fix=unknown.fix)
    for hidden in sorted(ruleset.hides - NEEDS):
        unknown = unknown_name_error("need", hidden, NEEDS)
        raise UsageError(f"{path}: ruleset {name!r}: hides: {unknown.what}", fix=unknown.fix)
    problem = next((text for text, violated in problems.items() if violated), "")
    if problem := problem or stopping_rule(ruleset.stopping).find_problem(ruleset):
        fix = "correct the field; `bench rulesets --json` prints the fields of every ruleset"
        raise UsageError(f"{path}: ruleset {name!r}: {problem}", fix=fix)
    return ruleset
