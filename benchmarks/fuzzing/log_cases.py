"""Cases of results of other tools: AlgoPerf's trees of logs and target files, CSV files, and histories of W&B."""

from __future__ import annotations

import csv
import io
import json
import random
from typing import Any

from fuzzing import mutations
from fuzzing.case import CaseFile, Expected, FuzzCase

_WORKLOADS = {"ogbg": ("mean_average_precision", 0.28), "wmt": ("bleu", 30.8)}
_TARGETS: dict[str, Any] = {
    "benchmark_version": "0.6",
    "base_workloads": ["ogbg", "wmt"],
    "held_out_workloads": [],
    "workloads": {
        name: {
            "target_metric_name": metric,
            "target_metric_goal": "maximize",
            "validation_target_value": value,
            "step_hint": 1000,
            "max_allowed_runtime_sec": 100,
        }
        for name, (metric, value) in _WORKLOADS.items()
    },
}


def _measurements(metric: str, target: float, offset: float) -> str:
    rows = [["score", f"validation/{metric}", "global_step"]]
    rows += [[str(10.0 * i + offset), str(target * i / 4), str(100 * i)] for i in range(1, 7)]
    return "\n".join(",".join(row) for row in rows) + "\n"


def make_algoperf_case(number: int, rng: random.Random) -> FuzzCase:
    """Return a case with one changed file in a tree of AlgoPerf's logs, or with changed targets."""
    logs = {
        f"logs/{submission}/study_{study}/{workload}_jax/trial_1/eval_measurements.csv": _measurements(
            *_WORKLOADS[workload], offset
        )
        for offset, submission in enumerate(("baseline", "other"), start=1)
        for study in (0, 1)
        for workload in _WORKLOADS
    }
    path = rng.choice(list(logs))
    metric = logs[path].partition("\n")[0].split(",")[1]
    files = {name: CaseFile(path=name, content=text.encode()) for name, text in logs.items()}
    files["targets.json"] = CaseFile(path="targets.json", content=json.dumps(_TARGETS).encode())
    files["held.json"] = CaseFile(path="held.json", content=b'["ogbg_model_size"]')
    arguments = ["score", "--algoperf", "logs", "--targets", "targets.json"]
    expected: Expected = "any"
    change = rng.choice(["bytes", "cells", "type", "targets", "targets", "target value", "held out", "names"])
    match change:
        case "bytes":
            files[path] = CaseFile(path=path, content=mutations.change_bytes(logs[path].encode(), rng))
        case "cells":
            files[path] = CaseFile(path=path, content=change_csv(logs[path], rng))
        case "type":
            where = path.rsplit("/", rng.choice([0, 0, 1, 2, 3]))[0]
            files = {name: file for name, file in files.items() if not name.startswith(where)}
            files[path] = mutations.change_type(where, rng)
        case "targets":
            content = mutations.write_json(mutations.change_json(_TARGETS, rng), rng)
            files["targets.json"] = CaseFile(path="targets.json", content=content)
        case "target value":
            value = rng.choice([float("nan"), float("inf"), "0.3", None, True, [0.3], 10**400])
            entry = {**_TARGETS["workloads"]["ogbg"], "validation_target_value": value}
            content = json.dumps({**_TARGETS, "workloads": {**_TARGETS["workloads"], "ogbg": entry}}).encode()
            files["targets.json"] = CaseFile(path="targets.json", content=content)
            expected, change = "refused", f"a target of {value!r}"[:80]
        case "held out":
            arguments += ["--held-out", "held.json"]
            files["held.json"] = rng.choice(
                [
                    mutations.change_type("held.json", rng),
                    CaseFile(path="held.json", content=mutations.write_json(mutations.odd_value(rng), rng)),
                    CaseFile(path="held.json", content=mutations.change_bytes(b'["ogbg_model_size"]', rng)),
                ]
            )
        case _:
            parts = path.split("/")
            parts[rng.randrange(1, 5)] = rng.choice(
                [*mutations.TEXTS, "study_99999999999", "trial_²", "study_-1", "x_jax"]
            )
            files["odd"] = CaseFile(path="/".join(parts), content=logs[path].encode())
    arguments += rng.choice(
        [(), ("--json",), ("--ruleset", "self-tuning"), ("--reference", "other"), ("--all-skipped",)]
    )
    return FuzzCase(
        kind="algoperf",
        number=number,
        files=tuple(files.values()),
        arguments=tuple(arguments),
        expected=expected,
        change=f"{change} ({metric})",
    )


def change_csv(text: str, rng: random.Random) -> bytes:
    """Return a CSV file in which one or two cells, fields or lines were changed."""
    rows = list(csv.reader(io.StringIO(text)))
    for _ in range(rng.choice([1, 1, 2])):
        row = rng.choice(rows)
        column = rng.randrange(len(row)) if row else 0
        match rng.randrange(7):
            case 0 if row:
                del row[column]
            case 1:
                row.insert(column, mutations.odd_text(rng))
            case 2:
                rows.insert(rng.randrange(len(rows)), list(row))
            case 3:
                rng.shuffle(rows)
            case 4 if row:
                row[column] = row[column] * rng.choice([2, 1000, 200_000])
            case _ if row:
                row[column] = rng.choice([odd_number(rng), mutations.odd_text(rng)])
    out = io.StringIO()
    writer = csv.writer(
        out, quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), lineterminator=rng.choice(["\n", "\r\n"])
    )
    writer.writerows(rows)
    return out.getvalue().encode("utf-8", "surrogatepass")


def odd_number(rng: random.Random) -> str:
    """Return a text that is, or looks like, a number."""
    return rng.choice(
        ["NaN", "Infinity", "-inf", "1e400", "tensor(2.0)", "2.5", "-3", "9" * 30, "1e-400", "0x10", "1,5"]
    )


# --- imports ----------------------------------------------------------------------------------------------------------

_ROWS = [{"_step": 100 * i, "_runtime": 5.0 * i, "loss": 3.0 / i, "accuracy": 0.1 * i} for i in range(1, 6)]


def make_import_case(number: int, rng: random.Random) -> FuzzCase:
    """Return a case with one changed log that is imported, or with odd names."""
    is_json = rng.random() < 0.5
    text = json.dumps(_ROWS) if is_json else "\n".join(json.dumps(row) for row in _ROWS)
    if not is_json and rng.random() < 0.6:
        text = "_step,_runtime,loss,accuracy\n" + "\n".join(",".join(map(str, row.values())) for row in _ROWS) + "\n"
    is_csv = text.startswith("_step")
    path = "log.csv" if is_csv else "log.json"
    expected: Expected = "any"
    change = rng.choice(["bytes", "cells", "cells", "step", "type", "names"])
    file = CaseFile(path=path, content=text.encode())
    keywords: dict[str, Any] = {"path": path, "submission": "a", "workload": "b"}
    function = "import_csv" if is_csv and rng.random() < 0.6 else "import_wandb"
    if function == "import_csv":
        keywords.update(metric="loss", step="_step", seconds="_runtime")
    match change:
        case "bytes":
            file = CaseFile(path=path, content=mutations.change_bytes(text.encode(), rng))
        case "cells":
            content = change_csv(text, rng) if is_csv else mutations.write_json(mutations.change_json(_ROWS, rng), rng)
            file = CaseFile(path=path, content=content)
        case "step":
            column = rng.choice(["_step", "_runtime"])
            value = rng.choice([-1, 1e30, float("nan"), float("inf"), "tensor(2.0)", "x", None, True])
            value = rng.choice([value, 1.5]) if column == "_step" else value
            rows = [dict(row) for row in _ROWS]
            rows[rng.randrange(len(rows))][column] = value  # type: ignore[assignment]
            if is_csv:
                text = "_step,_runtime,loss,accuracy\n" + "\n".join(",".join(map(str, r.values())) for r in rows)
            else:
                text = json.dumps(rows)
            file = CaseFile(path=path, content=text.encode())
            # None is an empty cell of the time in JSON, and the text `None` in CSV.
            expected, change = "refused", f"{column} {value!r}"
            if column == "_runtime" and value == 1e30:
                expected = "any"
        case "type":
            file = mutations.change_type(path, rng)
        case _:
            name = rng.choice([n for n in ("submission", "workload", "path", "metric", "step") if n in keywords])
            # A program that passes half of a surrogate pair gets an error of pandas.
            keywords[name] = mutations.odd_text(rng).encode("utf-8", "replace").decode()
    return FuzzCase(
        kind="imports",
        number=number,
        files=(file,),
        function=function,
        keywords=keywords,
        expected=expected,
        change=change,
    )
