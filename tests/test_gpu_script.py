"""`benchmarks/gpu.py` at a toy size: it runs, and what it says can be read, checked and trusted to be incomplete."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.contract.record import Device, GpuSample
from harness.hardware import detect
from harness.hardware.drivers import Gpu
from harness.plugins.loading import import_file

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def gpu() -> Any:
    path = list(sys.path)
    yield import_file(SCRIPT)
    sys.path[:] = path


def run(out: Path, *more: str) -> dict[str, Any]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "BENCH_DATA": str(out.parent / "data"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--toy", "--out", str(out), *more]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(out.read_text())
    for result in found["results"]:
        assert result["name"] in done.stdout
    return found


@pytest.mark.slow
def test_every_measurement_works_or_says_why_not(tmp_path: Path) -> None:
    found = run(tmp_path / "gpu.json")
    assert found["toy"]
    assert found["hardware"].startswith("cpu-")
    assert {"algorace", "torch"} <= set(found["versions"])
    results = {result["name"]: result for result in found["results"]}
    assert len(results) == len(found["results"]) >= 12
    for name, result in results.items():
        said = result.get("not_measured", "")
        # What cannot be done here: a trick that this version lacks, compiling, counting waits. And no failure.
        assert not said or said.startswith(
            ("absent: ", "left out: without --compile", "left out: waits can be counted only on CUDA")
        ), f"{name}: {said}"
    language = results["lm-124m-synthetic, all on"]
    assert len(language["tokens_per_second"]) == found["sizes"]["intervals"]
    assert all(rate > 0 for rate in language["tokens_per_second"])
    assert "utilisation" not in language, "a processor has no peak on record"
    assert results["lm in tf32, without bf16"]["precision"]["dtype"] == "float32"
    assert language["precision"]["dtype"] == "bfloat16"
    # The same training whether Muon's matrices are taken together or not, up to rounding.
    together, single = (results[f"lm with muon-wsd{end}"] for end in ("", ", matrices one by one"))
    assert together["train_loss"][1:] == pytest.approx(single["train_loss"][1:], rel=1e-3)
    low, high = results["harness over bare loop"]["ratio_plus_minus_two_errors"]
    assert 0 < low <= results["harness over bare loop"]["ratio"] <= high


@pytest.mark.slow
def test_when_the_time_is_up_the_rest_is_said_to_be_left_out(tmp_path: Path) -> None:
    found = run(tmp_path / "gpu.json", "--seconds", "-1")
    said = {result["not_measured"] for result in found["results"]}
    assert "left out: the time was up" in said


@pytest.mark.slow
def test_operations_per_token_are_those_of_the_formula(gpu: Any) -> None:
    """Of the 124M model by hand: 6·123,590,400 + 6·12·768·1024."""
    from workloads.lm.web import Lm124m

    model = Lm124m().build_model(0)
    assert gpu.flops_per_token(model, model.config) == 6 * 123_590_400 + 6 * 12 * 768 * 1024 == 798_165_504


@pytest.mark.slow
def test_a_failure_is_a_line_and_not_the_end(gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(session: Any) -> dict[str, Any]:
        raise RuntimeError("CUDA error: the device fell off the bus\nand more")

    session = gpu.Session(
        device="cpu", sizes=gpu.TOY, compiled=False, deadline=float("inf"), folder=tmp_path, registry=None
    )
    after = ("after", lambda s: {"tflops": [1.0, 2.0]}, gpu.nullcontext, "")
    monkeypatch.setattr(gpu, "measurements", lambda s: [("broken", broken, gpu.nullcontext, ""), after])
    gpu.measure(session, "")
    one, two = session.results
    assert one["not_measured"] == "failed: RuntimeError: CUDA error: the device fell off the bus"
    assert two["tflops"] == [1.0, 2.0]


def test_clocks_are_read_once_a_second_at_most(gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Driver:
        name = "fake"

        def read(self, gpus: Any) -> list[GpuSample]:
            return [GpuSample(device=one.index, sm_mhz=1755) for one in gpus]

    card = Gpu(index=0, uuid="", device=Device(name="NVIDIA H200", memory_mib=143_771))
    monkeypatch.setattr(detect, "all_gpus", lambda: (card,))
    monkeypatch.setattr(detect, "find_driver", Driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    times = iter([0.0, 0.5, 2.0])
    monkeypatch.setattr(gpu, "time", SimpleNamespace(monotonic=lambda: next(times)))
    session = gpu.Session(
        device="cuda", sizes=gpu.TOY, compiled=False, deadline=float("inf"), folder=tmp_path, registry=None
    )
    for name in "abc":
        session.read(name)
    assert [(one["during"], one["sm_mhz"]) for one in session.readings] == [("a", 1755), ("c", 1755)]
    assert session.hardware == "1xH200"


@pytest.mark.slow
def test_without_a_gpu_only_the_toy_size_runs() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--device", "cpu"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--toy" in done.stderr
