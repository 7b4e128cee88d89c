"""Cases of configuration: sweeps, the project file, rulesets, best settings, series, envelopes and the plugin cache."""

from __future__ import annotations

import json
import random
from typing import Any

import yaml

from fuzzing import mutations
from fuzzing.case import CaseFile, Expected, FuzzCase
from fuzzing.record_cases import ROOT
from harness.contract.limits import RANGES

_SWEEP = """\
submissions: [wsd]
workloads: [lm-tiny]
ruleset: quick
studies: 2
seed: 3
set: {lr: [0.001, 0.003]}
threads: 1
ranks: 1
jobs: 2
"""
_PROJECT = "ruleset: quick\nstudies: 2\nseed: 7\nthreads: 1\nruns: runs\nresults: results\n"
_RULESET = """\
summary: mine
trials: 2
studies: 2
budget_factor: 0.5
tuning: space
stopping: target
"""
_SETTINGS: dict[str, Any] = {
    "schema": 1,
    "settings": [
        {
            "submission": "wsd@1",
            "load": "",
            "source_hash": "0" * 64,
            "tier": "cpu",
            "workloads": ["lm-tiny@2"],
            "hparams": {"lr": 0.002},
            "by": "metric",
            "budgets": {"lm-tiny": 1000},
            "trials": 8,
            "studies": 1,
            "hardware": "x",
            "run_ids": ["run-0123456789abcdef"],
            "runs": 8,
            "core_minutes": 1.5,
            "found": "2026-01-01",
        }
    ],
}
_SERIES: dict[str, Any] = {
    "schema": 1,
    "alpha": 0.05,
    "seed": 0,
    "min_effect": 0.03,
    "by": "examples",
    "candidates": [
        {
            "a": {"asked": "wsd", "source": "0" * 64, "copy": ""},
            "b": {"asked": "adamw-cosine", "source": "1" * 64, "copy": ""},
            "workloads": ["lm-tiny@2:1000"],
            "names": ["lm-tiny"],
            "budget": None,
            "level": 0.01,
            "outcome": "better",
        }
    ],
}
_ENVELOPE: dict[str, Any] = {
    "schema": 1,
    "workload": "lm-tiny@2",
    "metric": "loss",
    "goal": "min",
    "budget": 7680,
    "reference": "adamw-cosine@1",
    "hardware": "x",
    "torch": "2",
    "provisional": True,
    "horizons": [3840, 7680, 11520],
    "values": [2.0, 1.8, 1.7],
    "spreads": [0.01, 0.01, 0.01],
    "runs": ["run-0123456789abcdef"],
}
_CACHE: dict[str, Any] = {"schema": 2, "plugins": {"x": {"stamp": "", "installed": "", "contents": {}, "known": []}}}


def _read(path: str) -> str:
    """Return the text of a published calibration file."""
    return (ROOT / "calibration" / path).read_text()


_DRY = ("--dry-run", "-s", "wsd", "-w", "lm-tiny")
#: File name -> (valid content, commands that read it).
_SOURCES: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "sweep.yaml": (_SWEEP, (("run", "--dry-run", "sweep.yaml"), ("run", "--dry-run", "--json", "sweep.yaml"))),
    "bench.yaml": (_PROJECT, (("run", *_DRY), ("run", "--show-config"), ("runs",), ("leaderboard",), ("hardware",))),
    "mine.yaml": (_RULESET, (("run", *_DRY, "--ruleset", "./mine.yaml"),)),
    "best_settings.json": (
        json.dumps(_SETTINGS, indent=1),
        (("run", *_DRY, "--best"), ("tune", "wsd", "-w", "lm-tiny", "--dry-run", "--write")),
    ),
    ".bench-series/s.json": (
        json.dumps(_SERIES, indent=1),
        (("gate", "wsd", "--series", "s", "-w", "lm-tiny"), ("gate", "--confirm", "s")),
    ),
    "calibration/gate/lm-tiny-7680.json": (
        json.dumps(_ENVELOPE, indent=1),
        (("gate", "wsd", "-w", "lm-tiny", "--budget", "7680"),),
    ),
    "calibration/resnet-digits.json": (
        _read("resnet-digits.json"),
        (("calibrate", "--dry-run", "resnet-digits+gelu"),),
    ),
    "cache/plugins.json": (json.dumps(_CACHE), (("list",), ("plugins", "--json"))),
}
#: Texts of YAML that parsers treat specially.
_SNIPPETS = (
    *("&a [*a]", "{<<: {studies: 3}}", "!!python/object:os.system x", "!!binary 'x'", "!!timestamp x", "!!set {a, b}"),
    *(
        "!!omap [a: 1]",
        "1:30",
        "010",
        "0x1F",
        "1_000",
        "~",
        ".nan",
        ".inf",
        "2026-01-01",
        "yes",
        "'",
        '"\\ud800"',
        "? a",
    ),
    *(
        "- - - -",
        "|\n  x",
        "*unknown",
        "!unknown x",
        "%YAML 9.9\n---",
        "--- a\n--- b",
        "{a: 1, a: 2}",
        "\t- a",
        "@",
        "`",
    ),
    *(
        "&a [x,x,x,x,x,x,x,x,x], &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]",
        "!!float x",
        "!!int ''",
        "!!null 1",
        "[]: 1",
        "{}: {}",
    ),
)
_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
)


def make_case(number: int, rng: random.Random) -> FuzzCase:
    """Return a case with one changed configuration file."""
    name = rng.choice(list(_SOURCES))
    text, commands = _SOURCES[name]
    expected: Expected = "any"
    change = rng.choice(["bytes", "value", "value", "range", "snippet", "type", "bomb"])
    is_yaml = name.endswith(".yaml")
    file = CaseFile(path=name, content=text.encode())
    match change:
        case "value":
            changed = mutations.change_json(yaml.safe_load(text), rng)
            file = CaseFile(path=name, content=_dump(changed, is_yaml, rng))
        case "range" if name in ("sweep.yaml", "bench.yaml"):
            key = rng.choice([key for key in RANGES if key in yaml.safe_load(text)])
            value = _outside(key, rng)
            changed = {**yaml.safe_load(text), key: value}
            file = CaseFile(path=name, content=json.dumps(changed).encode())
            expected, commands = "usage", commands[:1]
            change = f"{key}: {value!r} in {name}"
        case "snippet" if is_yaml:
            lines = text.splitlines()
            where = rng.randrange(len(lines))
            key = lines[where].partition(":")[0]
            lines[where] = rng.choice(
                [f"{key}: {rng.choice(_SNIPPETS)}", rng.choice(_SNIPPETS), f"{lines[where]}\n" * 2]
            )
            file = CaseFile(path=name, content="\n".join(lines).encode("utf-8", "surrogatepass"))
        case "bomb" if is_yaml:
            file = CaseFile(path=name, content=(text + _BOMB).encode())
        case "type":
            file = mutations.change_type(name, rng)
        case _:
            file = CaseFile(path=name, content=mutations.change_bytes(text.encode(), rng))
    environment = {"BENCH_CACHE": "cache"} if name.startswith("cache/") else {}
    return FuzzCase(
        kind="yaml",
        number=number,
        files=(file,),
        arguments=rng.choice(commands),
        environment=environment,
        expected=expected,
        change=change,
    )


def _dump(value: Any, is_yaml: bool, rng: random.Random) -> bytes:
    if is_yaml and rng.random() < 0.5:
        try:
            return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")
        except (yaml.YAMLError, RecursionError, ValueError):
            pass
    return mutations.write_json(value, rng)


def _outside(name: str, rng: random.Random) -> Any:
    """Return a value that is outside the range of an option, or is not an integer."""
    limits = RANGES[name]
    return rng.choice([limits.low - 1, limits.high + 1, 2**70, 1.5, "x", True, [1], {"a": 1}, "", float("inf")])
