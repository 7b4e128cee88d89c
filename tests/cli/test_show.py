"""`bench show`: the factors of a schedule as JSON, its curve in characters and as a picture, and what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest

from harness import cli
from harness.plugins.registry import load_registry
from harness.report import curve

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run `bench show` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        code = cli.invoke(["show", *arguments])
        return Result(code, *capsys.readouterr())

    return call


def rows(result: Result) -> list[dict[str, float]]:
    assert result.code == 0, result.err
    found: list[dict[str, float]] = json.loads(result.out)["schedule"]
    return found


def factors(result: Result) -> list[float]:
    return [row["factor"] for row in rows(result)]


def test_a_bare_part_has_no_warmup_an_end_at_0_and_the_whole_horizon(show: Any) -> None:
    at = ("--json", "--horizon", "1000", "--at", "0,50,100,1000")
    found = rows(show("schedule:uba", "--set", "phi=1", *at))
    assert [row["step"] for row in found] == [0, 50, 100, 1000]
    assert set(found[0]) == {"step", "factor"}
    assert [row["factor"] for row in found] == pytest.approx([1, 0.996913, 0.987613, 0], abs=1e-6)
    assert factors(show("schedule:cosine", "--set", "warmup=100", *at)) == pytest.approx([0, 0.5, 1, 0], abs=1e-9)
    assert factors(show("schedule:inverse-sqrt", "--set", "warmup=100", *at)) == pytest.approx(
        [0.01, 0.51, (100 / 101) ** 0.5, (100 / 1001) ** 0.5]
    )


def test_a_submission_plans_for_its_share_of_the_horizon(show: Any) -> None:
    at = ("--json", "--horizon", "1000", "--at", "0,50,100,750,1000", "--set", "warmup=100", "--set", "shape=linear")
    assert factors(show("wsd", *at)) == pytest.approx([0, 0.5, 1, 0, 0])
    whole = factors(show("wsd", *at, "--set", "horizon_fraction=1"))
    assert whole == pytest.approx([0, 0.5, 1, 1, 0])
    document = json.loads(show("wsd", *at).out)
    assert (document["horizon"], document["planned"]) == (1000, 750)
    assert document["hyperparameters"]["warmup"] == 100
    assert document["submission"]["name"] == "wsd"


def test_parts_compose_by_name(show: Any) -> None:
    arguments = ("--json", "--horizon", "1000", "--at", "500", "--set", "horizon_fraction=1", "--set", "warmup=0")
    assert factors(show("muon+rex+ema", *arguments)) == pytest.approx([2 / 3])


def test_what_a_schedule_drives_stands_beside_the_factor(show: Any) -> None:
    (row,) = rows(show("schedule:one-cycle", "--json", "--horizon", "1000", "--at", "100"))
    assert row == {"step": 100, "factor": pytest.approx(0.28145736), "momentum": pytest.approx(0.924848, abs=1e-6)}
    text = show("one-cycle").out
    assert "momentum" in text.partition("schedule over")[2]


def test_without_a_schedule_the_rate_is_constant(show: Any) -> None:
    assert set(factors(show("schedule-free-adamw", "--json"))) == {1.0}


def test_tasks_are_those_of_the_workload_or_as_many_as_asked(show: Any) -> None:
    at = ("--json", "--set", "warmup=0", "--set", "final=0.1")
    found = factors(show("schedule:rewarm", *at, "--horizon", "400", "--tasks", "4", "--at", "0,99,100,399"))
    assert found[0] == found[2] == 1.0
    assert found[1] == found[3] < 0.11
    assert factors(show("schedule:rewarm", *at, "--horizon", "400", "--at", "100"))[0] > 0.8, "one task"
    stream = load_registry().workload("continual-digits").facts
    lengths = [stage.max_examples // stream.batch_sizes[0] for stage in stream.stages]
    starts = ",".join(str(sum(lengths[:task])) for task in range(len(lengths)))
    streamed = factors(show("schedule:rewarm", *at, "--workload", "continual-digits", "--at", starts))
    assert streamed == [1.0] * len(lengths)
    pooled = json.loads(show("adamw-cosine", "-w", "lm-tiny", "--json", "--at", "0").out)
    facts = load_registry().workload("lm-tiny").facts
    assert pooled["horizon"] == facts.budget.horizon // facts.batch_sizes[0]


def test_the_batch_size_and_the_tokens_reach_the_schedule(show: Any) -> None:
    arguments = ("schedule:power", "--json", "--horizon", "200000", "--at", "1000,5000")
    assert factors(show(*arguments)) == pytest.approx([1, 0.013002209 / 0.02])
    smaller = factors(show(*arguments, "--set", "batch_size=128"))[1]
    assert smaller == pytest.approx(0.013002209 / 0.02 * 0.5**0.49)


def test_the_text_says_what_it_is_and_draws_it(show: Any) -> None:
    result = show("uba")
    assert result.code == 0, result.err
    for word in ("Stepsize anything", "2505.24452", "schedule:uba", "horizon", "log-uniform 0.25 to 5", "phi", "⠀"):
        assert word in result.out, word
    assert "1,000" in result.out
    table = show("rex", "--at", "0,750").out.splitlines()[-2:]
    assert [line.split() for line in table] == [["0", "0"], ["750", "0"]]


def facts_shown(result: Result) -> dict[str, str]:
    """Rows of a workload's description, less those of its options and sources."""
    assert result.code == 0, result.err
    lines = result.out.partition("model options")[0].partition("\nsources")[0].splitlines()[1:]
    cells = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in lines]
    return {row[0]: row[1] for row in cells}


def test_a_stream_is_shown_with_its_stages_their_floors_and_its_data(show: Any) -> None:
    shown = facts_shown(show("continual-mnist"))
    stages = load_registry().workload("continual-mnist").facts.stages
    assert [name for name in shown if name.startswith("stage ")] == [f"stage {stage.name}" for stage in stages]
    assert shown["stage task-4"] == f"avg_seen ≥ {stages[-1].targets[0].value}"
    floor = stages[-1].floors[0].value
    assert shown["floors"] == f"accuracy/0, accuracy/1, accuracy/2, accuracy/3 ≥ {floor}"
    assert shown["needs data"] == "mnist"
    assert shown["target from"] == "calibration/continual-mnist.json"
    assert "floors" not in facts_shown(show("lm-tiny"))


def test_a_target_is_shown_with_all_its_digits(show: Any) -> None:
    assert facts_shown(show("resnet50-imagenet"))["target"] == "accuracy ≥ 0.77431 share"
    assert facts_shown(show("lm-124m"))["target"] == "loss ≤ 3.28 nats per token"


def test_what_nobody_measured_is_said(show: Any) -> None:
    shown = facts_shown(show("lm-124m"))
    assert shown["resolution"] == "not known (coarse)"
    assert shown["target from"] == "not calibrated"
    assert (shown["tier"], shown["smaller sibling"]) == ("gpu", "lm-16m")
    assert shown["needs data"] == "fineweb-gpt2:4.1B"
    tiny = load_registry().workload("lm-tiny").facts
    shown = facts_shown(show("lm-tiny"))
    assert (shown["tier"], shown["needs data"]) == ("cpu", "nothing")
    assert "smaller sibling" not in shown
    assert shown["resolution"].startswith(f"{tiny.resolution:.1%}")
    assert shown["target from"] == ", ".join(tiny.reference)


def test_large_workloads_are_coarse_until_their_resolution_is_measured() -> None:
    """Outside the anchored mean: nobody knows yet what one standard error is worth there."""
    large = [entry.facts for entry in load_registry().workloads() if entry.facts.tier != "cpu"]
    assert len(large) >= 6
    assert [facts.name for facts in large if facts.resolution is None and not facts.coarse] == []


@pytest.mark.parametrize("name", sorted(part.name for part in load_registry().parts() if part.kind == "schedule"))
def test_every_schedule_can_be_shown_bare(show: Any, name: str) -> None:
    result = show(f"schedule:{name}")
    assert result.code == 0, result.err
    assert "learning rate / peak" in result.out
    assert len(rows(show(f"schedule:{name}", "--json", "--horizon", "3"))) == 4


@pytest.mark.slow
def test_pictures(show: Any, tmp_path: Path) -> None:
    result = show("one-cycle", "--plot", "new/curve.svg")
    assert result.code == 0, result.err
    assert "curve.svg" in result.err
    tree = ElementTree.fromstring((tmp_path / "new" / "curve.svg").read_text())
    lines = tree.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2, "learning rate and momentum"
    assert len(lines[0].attrib["points"].split()) > 500
    assert show("rex", "--plot", "a&b.html").code == 0
    assert "<svg" in (tmp_path / "a&b.html").read_text()
    pytest.importorskip("matplotlib")
    assert show("one-cycle", "--plot", "curve.png").code == 0
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_needs_a_missing_library_says_so(show: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = show("rex", "--plot", "curve.pdf")
    assert result.code == 1
    assert "algorace[plot]" in result.err
    assert ".svg" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["wsd", "--set", "warmup=-1"], ["warmup=-1"]),
        (["schedule:wsd", "--set", "decay=2000"], ["steps(decay)", "horizon=1000"]),
        (["schedule:uba", "--set", "phi=-1"], ["phi=-1", "at least 0"]),
        (["schedule:uba", "--set", "ph=1"], ["'ph'", "did you mean 'phi'"]),
        (["schedule:uba", "--set", "horizon_fraction=1"], ["horizon_fraction"]),
        (["schedule:wsd", "--set", "shape=exp"], ["final > 0"]),
        (["schedule:wsd", "--set", "decay"], ["NAME=VALUE"]),
        (["wsd", "--at", "1,x"], ["1,x"]),
        (["wsd", "--at", "-1"], ["-1"]),
        (["wsd", "--horizon", "0"], ["--horizon"]),
        (["wsd", "--plot", "curve.gif"], [".svg"]),
        (["wsd", "--workload", "lm-tny"], ["lm-tiny"]),
        (["wsd", "--horizon", "3", "--tasks", "4"], ["3 updates", "4 tasks"]),
        (["lm-tiny", "--at", "1"], ["lm-tiny", "no learning-rate curve"]),
        (["optimizer:adamw", "--plot", "x.svg"], ["adamw", "no learning-rate curve"]),
        (["schedule:rexx"], ["rex"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(show: Any, arguments: list[str], words: list[str]) -> None:
    result = show(*arguments)
    assert result.code == 2, result.err
    for word in words:
        assert word in result.err
    assert "Traceback" not in result.err
    assert not list(Path().glob("*.svg"))


@pytest.mark.slow
def test_a_schedule_in_a_file_is_drawn(show: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from harness.api import Fixed, Recipe\n"
        "def half(progress, share):\n    return share if progress.step < 500 else 0.0\n"
        "def bad(progress):\n    raise ValueError('no such rate')\n"
        "def sgd(parameters):\n    raise NotImplementedError\n"
        "Half = Recipe(optimizer=sgd, schedule=half, search_space={'share': Fixed(0.5)})\n"
        "Bad = Recipe(optimizer=sgd, schedule=bad)\n"
    )
    assert factors(show("./mine.py:Half", "--json", "--at", "0,500")) == [0.5, 0.0]
    result = show("./mine.py:Bad", "--at", "7")
    assert result.code == 3
    assert "raises at update 0" in result.err
    assert "no such rate" in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    described = show("./mine.py:Bad")
    assert described.code == 0
    assert "no curve" in described.err


@pytest.mark.parametrize("name", ["wsd", "muon+rex+ema", "schedule:one-cycle"])
def test_schedules_are_shown_without_torch(name: str, tmp_path: Path) -> None:
    code = (
        "import sys; from harness import cli; code = cli.invoke(sys.argv[1:]);"
        "heavy = {'torch', 'pandas', 'scipy', 'numpy', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    arguments = ["show", name, "--plot", str(tmp_path / "curve.svg")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_jump_is_drawn_as_a_line_and_a_flat_curve_from_zero() -> None:
    jump = curve.Panel(label="", x=range(101), y=[1.0 if x < 50 else 0.0 for x in range(101)])
    drawn = curve.characters(jump, width=10, height=4)
    columns = {index for line in drawn[1:3] for index, character in enumerate(line) if character > "\u2800"}
    assert len(columns) == 1, "between the edges there is nothing but the jump"
    flat = curve.Panel(label="", x=[0, 10], y=[1.0, 1.0])
    assert flat.bounds == (0.0, 1.0)
    assert curve.Panel(label="", x=[0, 10], y=[0.0, 0.0]).bounds == (-0.5, 0.5)
