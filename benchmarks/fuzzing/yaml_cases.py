"""Cases of small YAML and JSON files.

They are sweeps, `bench.yaml`, rulesets, best settings, series, envelopes, calibration files and the plugin cache.
"""

from __future__ import annotations

import json
import math
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
stopping: first-hit
"""
_SETTINGS: dict[str, Any] = {
    "schema": 1,
    "settings": [
        {
            "submission": "wsd@1",
            "load": "",
            "source_hash": "0" * 64,
            "tier": "cpu",
            "workloads": ["lm-tiny@3"],
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
    "min_effect": math.log1p(0.03),
    "by": "examples",
    "candidates": [
        {
            "a": {"asked": "wsd", "source": "0" * 64, "copy": ""},
            "b": {"asked": "adamw-cosine", "source": "1" * 64, "copy": ""},
            "workloads": ["lm-tiny@3:1000"],
            "names": ["lm-tiny"],
            "budget": None,
            "level": 0.01,
            "outcome": "better",
        }
    ],
}
_ENVELOPE: dict[str, Any] = {
    "schema": 1,
    "workload": "lm-tiny@3",
    "metric": "loss",
    "goal": "min",
    "budget": 7616,
    "reference": "adamw-cosine@1",
    "hardware": "x",
    "torch": "2",
    "provisional": True,
    "horizons": [3584, 7616, 11648],
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
    "calibration/gate/lm-tiny-7616.json": (
        json.dumps(_ENVELOPE, indent=1),
        (("gate", "wsd", "-w", "lm-tiny", "--budget", "7616"),),
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


#: File name -> pairs (path of a value in the file, values that are outside its range or have a wrong type).
_WRONG_VALUES: dict[str, tuple[tuple[tuple[str | int, ...], tuple[Any, ...]], ...]] = {
    "mine.yaml": ((("budget_factor",), (0, -1, float("nan"), float("inf"), "x", True, [1], 10**400)),),
    "best_settings.json": (
        (("settings", 0, "hparams", "lr"), (0, -0.002, "x", None, True, [0.002], 10**400)),
        (("settings", 0, "hparams"), ({"unknown": 1}, [], None, {"lr": 0.002, "beta1": 1.5})),
        (("schema",), (0, 2, "1", None)),
    ),
    ".bench-series/s.json": ((("alpha",), (0, 1, -0.05, 2, "x", None)), (("schema",), ("1", None, []))),
    "calibration/gate/lm-tiny-7616.json": (
        (("horizons", 0), (0, -1, 0.5, 7616, 2**64, "x", None)),
        (("values", 1), (0, -1.8, "x", None, 10**400)),
        (("values",), ([], [2.0, 1.8], [2.0, 1.8, 1.7, 1.6], 2.0, None)),
        (("spreads",), ([], [0.01], 0.01)),
    ),
}


def make_case(number: int, rng: random.Random) -> FuzzCase:
    """Return a case with one file, which is usually changed."""
    name = rng.choice(list(_SOURCES))
    text, commands = _SOURCES[name]
    is_yaml = name.endswith(".yaml")
    changes = ["bytes", "value", "value", "type", "nothing"]
    changes += ["range", "range", "twice", "unknown", "base", "snippet", "bomb"] if is_yaml else []
    changes += ["wrong value", "wrong value"] if name in _WRONG_VALUES else []
    change = rng.choice(changes)
    expected: Expected = "any"
    match change:
        case "value":
            content = _dump(mutations.change_json(yaml.safe_load(text), rng), is_yaml, rng)
        case "range" | "twice" | "unknown" | "base":
            content, change = _make_invalid(text, change, rng)
            expected, commands = "usage", commands[:1]
            change += f" in {name}"
        case "wrong value":
            changed, change = _set_wrong_value(yaml.safe_load(_complete(text, name)), name, rng)
            content, expected, commands = json.dumps(changed).encode(), "refused", commands[:1]
        case "snippet":
            lines = text.splitlines()
            line_index = rng.randrange(len(lines))
            key = lines[line_index].partition(":")[0]
            lines[line_index] = rng.choice([f"{key}: {rng.choice(_SNIPPETS)}", rng.choice(_SNIPPETS)])
            content = "\n".join(lines).encode("utf-8", "surrogatepass")
        case "bomb":
            content = (text + _BOMB).encode()
        case "nothing":
            content, expected, commands = _complete(text, name), "accepted", commands[:1]
        case _:
            content = mutations.change_bytes(text.encode(), rng)
    return FuzzCase(
        kind="yaml",
        number=number,
        files=(mutations.change_type(name, rng) if change == "type" else CaseFile(path=name, content=content),),
        arguments=rng.choice(commands),
        environment={"BENCH_CACHE": "cache"} if name.startswith("cache/") else {},
        expected=expected,
        change=change,
    )


def _complete(text: str, name: str) -> bytes:
    """Return a file that its command can use. A series loses its candidates, which match no real submission."""
    return (
        json.dumps({**_SERIES, "candidates": []}).encode()
        if name.endswith("s.json") and "series" in name
        else text.encode()
    )


def _make_invalid(text: str, change: str, rng: random.Random) -> tuple[bytes, str]:
    """Return a YAML file that has to be refused, and the name of its mistake."""
    lines = text.splitlines()
    values = yaml.safe_load(text)
    key = rng.choice([key for key in RANGES if key in values])
    match change:
        case "range":
            value = _outside(key, rng)
            return json.dumps({**values, key: value}).encode(), f"{key}: {value!r}"
        case "base":
            value = rng.choice(
                ["010", "0x1F", "1:30", "0b1", "0o17", "-017", "1_0:5", "2026-01-01", ".inf", "1e3", "1."]
            )
            changed = [f"{key}: {value}" if line.startswith(f"{key}:") else line for line in lines]
            return "\n".join(changed).encode(), f"{key}: {value}"
        case "unknown":
            value = rng.choice(["studie", "Studies", "jobs ", "studies:", "x", "\u202eseed", "é", "__class__", "<<<"])
            lines.insert(rng.randrange(len(lines) + 1), f"{json.dumps(value)}: 1")
            return "\n".join(lines).encode(), f"the key {value!r}"
    line_index = rng.randrange(len(lines))
    line = lines[line_index]
    name = line.partition(":")[0]
    # The key is repeated in one of three notations, or a nested mapping repeats a key.
    repetition = rng.choice([line, f'"{name}": 1', f"? {name}\n: 1", "set: {lr: 0.001, lr: 0.002}\nset: {lr: 1}"])
    if "ruleset: quick" in lines and "set: {lr" in text and rng.random() < 0.3:
        nested = rng.choice(["{lr: 0.001, lr: 0.002}", '{lr: 0.001, "lr": 0.002}', "{lr: 0.001, ? lr : 0.002}"])
        return "\n".join([*(x for x in lines if not x.startswith("set:")), f"set: {nested}"]).encode(), nested
    lines.insert(rng.randrange(len(lines) + 1), repetition)
    return "\n".join(lines).encode(), f"{name} twice"


def _set_wrong_value(values: Any, name: str, rng: random.Random) -> tuple[Any, str]:
    """Replace one value by a wrong one, and return the content and a description of the change."""
    path, wrong_values = rng.choice(_WRONG_VALUES[name])
    value = rng.choice(wrong_values)
    parent = values
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return values, f"{'.'.join(map(str, path))}: {value!r} in {name}"[:120]


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
