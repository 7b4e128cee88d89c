"""Cases of results of other tools: AlgoPerf's logs and target files, CSV files, and W&B's run histories."""

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
    present = ""
    changes = ["bytes", "cells", "type", "targets", "targets", "target value", "held out", "names"]
    change = rng.choice([*changes, "nothing", "misfit", "misfit", "misfit", "twice", "unknown", "list"])
    match change:
        case "bytes":
            files[path] = CaseFile(path=path, content=mutations.change_bytes(logs[path].encode(), rng))
        case "cells":
            files[path] = CaseFile(path=path, content=change_csv(logs[path], rng))
        case "type":
            removed_path = path.rsplit("/", rng.choice([0, 0, 1, 2, 3]))[0]
            files = {name: file for name, file in files.items() if not name.startswith(removed_path)}
            files[path] = mutations.change_type(removed_path, rng)
        case "targets":
            content = mutations.write_json(mutations.change_json(_TARGETS, rng), rng)
            files["targets.json"] = CaseFile(path="targets.json", content=content)
        case "target value":
            value = rng.choice([float("nan"), float("inf"), "0.3", None, True, [0.3], 10**400])
            entry = {**_TARGETS["workloads"]["ogbg"], "validation_target_value": value}
            content = json.dumps({**_TARGETS, "workloads": {**_TARGETS["workloads"], "ogbg": entry}}).encode()
            files["targets.json"] = CaseFile(path="targets.json", content=content)
            expected, change = "refused", f"a target of {value!r}"[:80]
        case "misfit":
            # The output must name the folder of the trial that cannot be used.
            text, change = misfit(logs[path], rng)
            files[path] = CaseFile(path=path, content=text.encode())
            present = "/".join(path.split("/")[1:-1])
            arguments.append("--all-skipped")
        case "twice" | "unknown" | "list":
            content, change = _wrong_targets(change, rng)
            files["targets.json"], expected = CaseFile(path="targets.json", content=content), "refused"
        case "nothing":
            expected = "accepted"
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
        present=present,
        change=f"{change} ({metric})",
    )


def misfit(text: str, rng: random.Random) -> tuple[str, str]:
    """Return a CSV file with a mistake in all rows or in one row of the first half, and the name of the mistake."""
    header, *rows = text.splitlines()
    row_index = rng.randrange(len(rows) // 2)
    fields = rows[row_index].split(",")
    change = rng.choice(["a field more", "commas at the end", "a field less", "a wrong cell", "a column twice"])
    match change:
        case "a field more":
            fields.insert(rng.randrange(len(fields) + 1), "0.5")
        case "commas at the end":
            rows = [f"{row}," for row in rows]
            fields.append("")
        case "a field less":
            del fields[rng.randrange(len(fields))]
        case "a wrong cell":
            column = next(i for i, name in enumerate(header.split(",")) if name.startswith(("validation/", "loss")))
            wrong_cells = ["tensor(2.0)", "np.float32(2.0)", "[2.0]", "0x10", "2;0", "2.0 s", "x", "1.0.0", "1_0"]
            fields[column] = rng.choice(wrong_cells)
        case "a column twice":
            repeated = rng.choice([name for name in header.split(",") if name not in ("global_step", "accuracy")])
            return "\n".join([f"{header},{repeated}", *(f"{row},0.5" for row in rows)]) + "\n", change
    rows[row_index] = ",".join(fields)
    return "\n".join([header, *rows]) + "\n", change


def _wrong_targets(change: str, rng: random.Random) -> tuple[bytes, str]:
    """Return a targets file that has to be refused, and the name of the mistake."""
    text = json.dumps(_TARGETS)
    match change:
        case "twice":
            name = rng.choice(
                ["benchmark_version", "held_out_workloads", "workloads", "ogbg", "validation_target_value"]
            )
            value = {"ogbg": _TARGETS["workloads"]["wmt"], "validation_target_value": 0.1}.get(name, _TARGETS.get(name))
            return text.replace(f'"{name}":', f'"{name}": {json.dumps(value)}, "{name}":', 1).encode(), f"{name} twice"
        case "unknown":
            name = rng.choice(["held_out", "workload", "heldout_workloads", "Workloads", "\u202e", "targets"])
            return json.dumps({**_TARGETS, name: []}).encode(), f"the field {name!r}"
    name, value = (
        rng.choice(["base_workloads", "held_out_workloads"]),
        rng.choice([None, "ogbg", {"ogbg": 1}, [1], [None], ["missing"], 0, [["ogbg"]], ["ogbg", 2.0], True]),
    )
    return json.dumps({**_TARGETS, name: value}).encode(), f"{name}: {value!r}"


def change_csv(text: str, rng: random.Random) -> bytes:
    """Return a CSV file with one or two changes: cells or rows were changed, added, removed or shuffled."""
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
    """Return an unusual number as text, or a text that looks like a number."""
    return rng.choice(
        ["NaN", "Infinity", "-inf", "1e400", "tensor(2.0)", "2.5", "-3", "9" * 30, "1e-400", "0x10", "1,5"]
    )


# --- imported logs ----------------------------------------------------------------------------------------------------

_ROWS = [{"_step": 100 * i, "_runtime": 5.0 * i, "loss": 3.0 / i, "accuracy": 0.1 * i} for i in range(1, 6)]


def make_import_case(number: int, rng: random.Random) -> FuzzCase:
    """Return a case that imports a log. The log or one argument of the import function is changed, or nothing is."""
    is_one_array = rng.random() < 0.5
    text = json.dumps(_ROWS) if is_one_array else "\n".join(json.dumps(row) for row in _ROWS)
    if not is_one_array and rng.random() < 0.6:
        text = "_step,_runtime,loss,accuracy\n" + "\n".join(",".join(map(str, row.values())) for row in _ROWS) + "\n"
    is_csv = text.startswith("_step")
    path = "log.csv" if is_csv else "log.json"
    expected: Expected = "any"
    change = rng.choice(
        ["bytes", "cells", "cells", "step", "step", "type", "names", "nothing", "misfit", "misfit", "value"]
    )
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
            value = rng.choice([-1, 1e30, float("nan"), float("inf"), 10**400, "tensor(2.0)", "x", None, True])
            value = rng.choice([value, 1.5]) if column == "_step" else value
            file = CaseFile(path=path, content=_replace_cell(column, value, is_csv, rng))
            # A value None is written as null to JSON, and as the text `None` to CSV. Both are refused.
            expected, change = "refused", f"{column} {value!r}"
            if column == "_runtime" and value == 1e30:
                expected = "any"
        case "misfit":
            text, change = misfit(text, rng) if is_csv else _misfit_json(rng)
            file, expected = CaseFile(path=path, content=text.encode()), "refused"
        case "value":
            wrong_cells = ["tensor(2.0)", "np.float64(2.0)", "[2.0]", "2.0 s", "x", "0x10", "1_0", True, 10**400]
            cell = rng.choice(wrong_cells if is_csv else [*wrong_cells, [2.0], {"value": 2.0}])
            file = CaseFile(path=path, content=_replace_cell("loss", cell, is_csv, rng))
            expected, change = "refused", f"loss {cell!r}"[:80]
        case "nothing":
            expected = "accepted"
        case "type":
            file = mutations.change_type(path, rng)
        case _:
            name = rng.choice([n for n in ("submission", "workload", "path", "metric", "step") if n in keywords])
            # Half of a surrogate pair raises an error in pandas, which is not a fault of `bench`.
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


def _replace_cell(column: str, value: Any, is_csv: bool, rng: random.Random) -> bytes:
    """Return a log, as CSV or JSON, in which one row has another value in a column."""
    rows: list[dict[str, Any]] = [dict(row) for row in _ROWS]
    rows[rng.randrange(len(rows))][column] = value
    lines = [",".join(_ROWS[0]), *(",".join(map(str, row.values())) for row in rows)]
    return ("\n".join(lines) if is_csv else json.dumps(rows)).encode()


def _misfit_json(rng: random.Random) -> tuple[str, str]:
    """Return a history as JSON lines with a mistake in one line, and the name of the mistake."""
    lines = [json.dumps(row) for row in _ROWS]
    line_index = rng.randrange(len(lines))
    change = rng.choice(["a key twice", "a list", "a number", "two rows in a line"])
    match change:
        case "a key twice":
            key = rng.choice(["_step", "_runtime", "loss"])
            lines[line_index] = lines[line_index].replace(f'"{key}":', f'"{key}": 1, "{key}":')
        case "a list":
            lines[line_index] = f"[{lines[line_index]}]"
        case "a number":
            lines[line_index] = "5"
        case _:
            lines[line_index] = f"{lines[line_index]} {lines[line_index]}"
    return "\n".join(lines), change
