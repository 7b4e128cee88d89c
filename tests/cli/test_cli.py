"""The command line: what it prints, where, with which exit code, and what it imports."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from harness import cli
from harness.cli.app import app
from harness.plugins.registry import load_registry
from harness.storage import records

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


class Result(NamedTuple):
    code: int
    out: str
    err: str


Bench = Callable[..., Result]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Run `bench` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        code = cli.invoke(list(arguments))
        return Result(code, *capsys.readouterr())

    return call


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["list", "--json"], ["run", "--help"], ["plugins"], ["leaderboard", "--help"]]
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from harness import cli; cli.invoke(sys.argv[1:]);"
        "heavy = {'torch', 'pandas', 'scipy', 'rich', 'numpy', 'sklearn'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    # Twice: the first may have to read plugins, in child processes.
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_planning_imports_no_torch() -> None:
    code = (
        "import sys; from harness import cli;"
        "code = cli.invoke(['run', '-s', 'wsd', '-w', 'lm-tiny', '--dry-run']);"
        "sys.exit('imported torch' if 'torch' in sys.modules else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_list_has_the_promised_shape(bench: Bench) -> None:
    listed = json.loads(bench("list", "--json").out)
    assert set(listed) == {"schema", "workloads", "submissions", "parts"}
    keys = {
        "workloads": {"name", "version", "tier", "summary", "sources", "distribution"},
        "submissions": {"name", "version", "summary", "sources", "parts", "needs", "tags", "distribution"},
        "parts": {"kind", "name", "summary", "sources", "distribution"},
    }
    for section, expected in keys.items():
        assert listed[section]
        for entry in listed[section]:
            assert set(entry) == expected
            for source in entry["sources"]:
                assert set(source) == {"title", "arxiv", "equation"}
    assert {"lm-tiny", "resnet-digits", "continual-digits"} <= {w["name"] for w in listed["workloads"]}
    assert {"adamw-cosine", "wsd", "sgd-nesterov", "replay"} <= {s["name"] for s in listed["submissions"]}


@pytest.mark.slow
def test_run_leaderboard_and_again(bench: Bench, tmp_path: Path) -> None:
    first = bench("run", "-s", "wsd", "-w", "resnet-digits", "--smoke", "--json")
    assert first.code == 0, first.err
    (record,) = json.loads(first.out)["records"]
    assert record["status"] == "exhausted"
    assert (tmp_path / "runs" / record["run_id"] / "record.json").exists()
    assert "cross_entropy" in first.err
    assert "\r" not in first.err
    assert "\x1b" not in first.err
    again = bench("run", "-s", "wsd", "-w", "resnet-digits", "--smoke", "--json")
    assert json.loads(again.out)["records"] == [record]
    assert "had already finished" in again.err
    board = bench("leaderboard")
    assert "1 left out (smoke: never ranked)" in board.out


@pytest.mark.slow
def test_the_leaderboard_reads_runs_and_results(bench: Bench, tmp_path: Path) -> None:
    assert bench("run", "-s", "replay", "-w", "continual-digits", "--studies", "2").code == 0
    board = bench("leaderboard", "--json")
    (one,) = json.loads(board.out)["boards"]
    assert one["workload"] == load_registry().workload("continual-digits").facts.id
    (row,) = one["rows"]
    assert row["n"] == 2
    results = tmp_path / "results" / "hardware" / "continual-digits" / "replay"
    results.mkdir(parents=True)
    for path in (tmp_path / "runs").glob("*/record.json"):
        (results / f"{path.parent.name}.json").write_bytes(path.read_bytes())
    assert json.loads(bench("leaderboard", "--json").out) == json.loads(board.out), "each run counts once"
    shown = bench("leaderboard", "--runs", "none")
    assert "replay" in shown.out
    assert "process seconds" in shown.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "-s", "wsdd", "-w", "lm-tiny"], ["wsdd", "did you mean 'wsd'"]),
        (["run", "-s", "wsd", "-w", "lm-tny"], ["lm-tny", "did you mean 'lm-tiny'"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--set", "learning=1"], ["learning", "choose one of:"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--set", "lr=-1"], ["lr=-1", "above 0"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--set", "lr=fast"], ["lr=fast", "number"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--set", "lr"], ["NAME=VALUE"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--set", "shape=zigzag"], ["zigzag", "1-sqrt"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--set", "warmup=-3"], ["warmup=-3", "at least 0"]),
        (["run", "-s", "adamw-constant", "-w", "lm-tiny", "--set", "warmup=inf"], ["warmup=inf"]),
        (["run", "-s", "adamw-constant", "-w", "lm-tiny", "--set", "warmup=nan"], ["warmup=nan"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--device", "cpu:0"], ["cpu:0", "one of"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--set", "decay=100000"], ["steps(decay)", "horizon"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--set", "beta2=1"], ["beta2=1"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--set", "batch_size=7"], ["batch_size=7", "one of"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--ruleset", "strict"], ["strict", "quick"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--device", "tpu"], ["tpu", "cuda"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--device", "cuda"], ["GPU"]),
        (["run", "-s", "wsd", "-w", "lm-tiny", "--executor", "moon"], ["moon", "local"]),
        (["run", "-s", "wsd", "-w", "tier:huge"], ["huge"]),
        (["run", "-s", "./none.py", "-w", "lm-tiny"], ["none.py"]),
        (["run", "-s", "adamw+nesterov", "-w", "lm-tiny"], ["two parts of kind optimizer"]),
        (["run", "-s", "rex+ema", "-w", "lm-tiny"], ["no optimizer", "OPTIMIZER+rex+ema"]),
        (["run", "-s", "adamw++rex", "-w", "lm-tiny"], ["before or after a '+'"]),
        (["run", "-s", "schedule-free-adamw+ema", "-w", "lm-tiny"], ["with a part of kind averaging", "ema"]),
        (["run", "-s", "schedule-free-sgd+one-cycle", "-w", "lm-tiny"], ["with a part of kind schedule", "one-cycle"]),
        (["run", "-s", "adamw+Rex", "-w", "lm-tiny"], ["'Rex'; did you mean 'rex'?"]),
        (["run", "-s", "cosine", "-w", "lm-tiny"], ["schedule:cosine is a part", "'adamw-cosine'"]),
        (["run", "-s", "lion", "-w", "lm-tiny", "--set", "beta1=1"], ["beta1=1"]),
        (["show", "schedule:minicpm"], ["submissions of that name: minicpm"]),
        (["show", "schedule:wsd_s"], ["did you mean 'wsd-s'?"]),
        (["show", "d2z", "--set", "warmup=800", "--horizon", "1000"], ["horizon=750", "because of horizon_fraction"]),
        (["show", "schedule:uba", "--set", "phi=inf"], ["phi=inf must be a finite number"]),
        (["show", "schedule:rewarm", "--tasks", "5", "--set", "warmup=300"], ["task=200"]),
        (["run", "-s", "replay", "-w", "lm-tiny"], ["needs a replay buffer"]),
        (["run", "-s", "torch.optim:Missing", "-w", "lm-tiny"], ["Missing"]),
        (["run", "-s", "torch.optim:LBFGS", "-w", "lm-tiny"], ["LBFGS computes the loss within its step", "closure"]),
        (["run", "-w", "lm-tiny"], ["submission"]),
        (["show", "nothing-like-it"], ["nothing-like-it"]),
        (["-p", "wsd", "list"], ["no:wsd"]),
        (["fly"], ["fly"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(bench: Bench, arguments: list[str], words: list[str]) -> None:
    result = bench(*arguments)
    assert result.code == 2, result.err
    for word in words:
        assert word in result.err
    complaints = [line for line in result.err.splitlines() if line.startswith("bench: ")]
    assert len(complaints) == 1
    assert "Traceback" not in result.err
    assert not (Path("runs")).exists(), "nothing was run"


def test_missing_data_skip_a_tier_and_stop_a_name(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nothing"))
    tier = bench("run", "-s", "wsd", "-w", "tier:cpu", "--dry-run", "--json")
    assert tier.code == 0, tier.err
    planned = {spec["spec"]["workload"]["facts"]["name"] for spec in json.loads(tier.out)["specs"]}
    assert {"lm-tiny", "resnet-digits", "curriculum-lm"} <= planned
    skipped = [line for line in tier.err.splitlines() if line.startswith("skipped: resnet-fashion ")]
    assert skipped == ["skipped: resnet-fashion needs data (bench data get fashion-mnist)"]
    assert not any("+" in name for name in planned), "variants are no members of the tier"
    named = bench("run", "-s", "wsd", "-w", "resnet-fashion")
    assert named.code == 1
    problem = "resnet-fashion needs data that are not installed, 30.9 MB to download"
    assert named.err.strip() == f"bench: {problem} (bench data get fashion-mnist)"


@pytest.mark.parametrize(("name", "sibling"), [("lm-124m-synthetic", "lm-tiny"), ("lm-124m", "lm-shakespeare")])
def test_a_gpu_workload_names_its_sibling(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, sibling: str
) -> None:
    monkeypatch.setattr("harness.hardware.detect.gpu_name", lambda: "")
    result = bench("run", "-s", "wsd", "-w", name)
    assert result.code == 2
    (line,) = [line for line in result.err.splitlines() if "this machine has none" in line]
    assert f"run its CPU sibling {sibling}, or" in line
    assert "--allow-slow" in line
    assert bench("run", "-s", "wsd", "-w", "lm-124m-synthetic", "--allow-slow", "--dry-run").code == 0


def test_the_project_file_is_read_and_checked(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "bench.yaml").write_text("seed: 7\nstudies: 2\n")
    shown = bench("run", "-s", "wsd", "-w", "lm-tiny", "--show-config", "--studies", "3")
    lines = {line.split()[0]: line.split()[1:] for line in shown.out.splitlines()}
    assert lines["seed"] == ["7", "bench.yaml"]
    assert lines["studies"] == ["3", "flag"]
    assert lines["threads"] == ["1", "default"]
    plan = json.loads(bench("run", "-s", "wsd", "-w", "lm-tiny", "--dry-run", "--json").out)
    assert len(plan["specs"]) == 2
    assert plan["specs"][0]["spec"]["root_seed"] == 7
    (tmp_path / "bench.yaml").write_text("sead: 7\n")
    result = bench("run", "-s", "wsd", "-w", "lm-tiny", "--dry-run")
    assert result.code == 2
    assert "sead" in result.err
    assert "'seed'" in result.err
    for text, word in (("- a\n", "mapping"), ("a: [\n", "is not YAML")):
        (tmp_path / "bench.yaml").write_text(text)
        result = bench("list")
        assert result.code == 2
        assert word in result.err


def test_the_environment_is_between_flag_and_file(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bench.yaml").write_text("seed: 7\n")
    monkeypatch.setenv("BENCH_SEED", "8")
    shown = bench("run", "-s", "wsd", "-w", "lm-tiny", "--show-config")
    assert "seed" in shown.out
    assert any(line.split() == ["seed", "8", "environment"] for line in shown.out.splitlines())


@pytest.mark.parametrize(
    "command",
    [
        ("gate", "wsd", "-w", "resnet-digits"),
        ("ablate", "wsd", "-w", "resnet-digits"),
        ("calibrate", "resnet-digits"),
        ("cost", "wsd,adamw-cosine", "-w", "resnet-digits"),
    ],
)
def test_the_environment_sets_seed_device_and_threads(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("SEED", "7"), ("DEVICE", "mps"), ("THREADS", "2")):
        monkeypatch.setenv(f"BENCH_{name}", value)
    found = app.get_command(click.Context(app), command[0])
    assert found is not None
    values = found.make_context(command[0], list(command[1:])).params
    assert (values["seed"], values["device"], values.get("threads", 2)) == (7, "mps", 2)


@pytest.mark.slow
def test_a_failed_trial_is_exit_code_1_and_a_path(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "import torch\nfrom harness.api import Recipe\n"
        "def optimizer(parameters):\n    raise ValueError('no good')\n"
        "Bad = Recipe(optimizer=optimizer)\n"
    )
    result = bench("run", "-s", "./bad.py", "-w", "resnet-digits", "--smoke")
    assert result.code == 1, result.err
    assert "crashed" in result.out
    assert "no good" in result.err
    (record,), _ = records.read_all([tmp_path / "runs"])
    assert record.reason == "ValueError: no good (bad.py:4)"


@pytest.mark.slow
def test_a_damaged_record_is_named_and_left_out(bench: Bench, tmp_path: Path) -> None:
    bench("run", "-s", "wsd", "-w", "resnet-digits", "--smoke")
    (path,) = (tmp_path / "runs").glob("*/record.json")
    path.write_text(re.sub(r'"steps":\d+', '"steps":"eight"', path.read_text()))
    result = bench("leaderboard")
    assert result.code == 0
    assert "$.points[" in result.err or "$.counters.steps" in result.err
    assert str(path.parent.name) in result.err


def test_no_results_is_one_line(bench: Bench) -> None:
    result = bench("leaderboard")
    assert result.code == 1
    assert result.err.startswith("bench: no results")


@pytest.mark.slow
def test_in_process_runs_here(bench: Bench) -> None:
    result = bench("run", "-s", "wsd", "-w", "resnet-digits", "--smoke", "--in-process", "--profile")
    assert result.code == 0, result.err
    assert "forward" in result.out
    assert bench("run", "-s", "wsd,sgd-nesterov", "-w", "resnet-digits", "--in-process").code == 2


@pytest.mark.parametrize("name", ["wsd", "lm-tiny", "continual-digits", "schedule:cosine", "adamw", "nesterov+wsd"])
def test_show_describes_everything(bench: Bench, name: str) -> None:
    text = bench("show", name)
    assert text.code == 0, text.err
    assert name in text.out
    assert json.loads(bench("show", name, "--json").out)["schema"] == 1


def test_python_m_is_bench() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "--version"], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("algorace, version")


def test_commands_are_frozen() -> None:
    """A change of these is a change for everybody's scripts: add freely, rename never."""
    from harness.cli.app import app

    context = __import__("click").Context(app)
    commands = {name: app.get_command(context, name) for name in app.list_commands(context)}
    options = {
        name: sorted(o for p in c.params for o in p.opts if o.startswith("--")) for name, c in commands.items() if c
    }
    assert set(options) >= {
        "run", "leaderboard", "best", "compare", "diff", "score", "report", "list", "show", "data", "plugins",
        "completion",
    }  # fmt: skip
    assert set(options["leaderboard"]) >= {
        "--by", "--workload", "--tier", "--target", "--reference", "--format", "--runs", "--results", "--json",
    }  # fmt: skip
    assert set(options["publish"]) >= {"--runs", "--results", "--to", "--no-weights", "--online", "--dry-run", "--json"}
    assert set(options["verify"]) >= {"--runs", "--results", "--no-weights", "--attest", "--online", "--json"}
    assert set(options["rerun"]) >= {
        "--runs", "--results", "--workloads", "--method", "--nonce", "--max-minutes", "--jobs", "--source",
        "--no-attestation", "--json",
    }  # fmt: skip
    assert set(options["compare"]) >= {"--workload", "--by", "--fail-if-slower-than", "--json"}
    assert set(options["score"]) >= {"--algoperf", "--ruleset", "--targets", "--held-out", "--json"}
    assert set(options["gate"]) >= {
        "--against", "--workload", "--budget", "--min-effect", "--alpha", "--max-pairs", "--max-minutes", "--series",
        "--confirm", "--envelope", "--no-envelope", "--json",
    }  # fmt: skip
    assert set(options["run"]) >= {
        "--submission", "--workload", "--ruleset", "--studies", "--seed", "--set", "--device", "--threads", "--runs",
        "--executor", "--force", "--smoke", "--profile", "--deterministic", "--allow-slow", "--in-process", "--dry-run",
        "--show-config", "--json", "--whole-evaluation", "--shadow-evaluation", "--nonce",
    }  # fmt: skip


def test_the_project_file_wants_the_right_types(bench: Bench, tmp_path: Path) -> None:
    for content in (b"runs: 5\n", b"studies: two\n", b"threads: 1.5\n", b"seed: true\n", b"\xff\xfe\n"):
        (tmp_path / "bench.yaml").write_bytes(content)
        result = bench("run", "-s", "wsd", "-w", "lm-tiny", "--dry-run")
        assert result.code == 2, content
        assert "bench.yaml" in result.err


@pytest.mark.slow
def test_a_trial_that_dies_at_once_has_its_name_and_number(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "from harness.api import Recipe\ndef optimizer(parameters):\n    raise ValueError('no')\n"
        "Bad = Recipe(optimizer=optimizer)\n"
    )
    result = bench("run", "-s", "./bad.py,wsd", "-w", "resnet-digits", "--smoke", "--jobs", "1")
    lines = [line for line in result.err.splitlines() if line.startswith("[")]
    assert "[1/2] bad on resnet-digits: crashed: ValueError: no (bad.py:3)" in lines
    assert "[2/2] wsd on resnet-digits" in lines
    assert [line[:5] for line in lines] == sorted(line[:5] for line in lines)
    assert "worker.log" in result.out


@pytest.mark.slow
def test_edited_sources_are_never_compared_as_one(bench: Bench, tmp_path: Path) -> None:
    source = (FIXTURES / "my_optimizer.py").read_text()
    for text in (source, source + "\nEDITED = True\n"):
        (tmp_path / "m.py").write_text(text)
        assert bench("run", "-s", "./m.py", "-w", "continual-digits").code == 0
    result = bench("compare", "m", "m")
    assert result.code == 2
    assert "changed between its runs" in result.err
    name = result.err.partition("choose one of ")[2].split(",")[0]
    assert bench("compare", name, name).code == 0


@pytest.mark.slow
def test_colour_may_be_forced_but_never_cursor_movement(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = bench("run", "-s", "wsd", "-w", "resnet-digits", "--smoke")
    assert "\x1b[" not in result.err
    assert "\r" not in result.err


@pytest.mark.parametrize(("arguments", "word"), [(["lst"], "'list'"), (["show", "lm-tny"], "'lm-tiny'")])
def test_the_nearest_name_is_named(bench: Bench, arguments: list[str], word: str) -> None:
    result = bench(*arguments)
    assert result.code == 2
    assert word in result.err


@pytest.mark.slow
def test_show_describes_a_workload_file(bench: Bench) -> None:
    result = bench("show", str(FIXTURES.parent / "micro.py") + ":Micro")
    assert result.code == 0, result.err
    assert result.out.startswith("micro: ")


def test_the_command_line_can_be_called_again_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """`harness.cli.list` is a module, and its import binds the name `list` in the package."""
    importlib.import_module("harness.cli.list")
    monkeypatch.setattr("harness.cli.streams.prepare_streams", lambda: None)
    monkeypatch.setattr("gc.set_threshold", lambda threshold: None)
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            cli.main(("--version",))
        assert ended.value.code == 0
