"""Hardware classes from what drivers answer: declared, undeclared, hidden, partitioned, silent."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from harness import cli
from harness.contract.record import Device
from harness.execution.resources import list_visible_gpus
from harness.hardware import classes as hardware_classes
from harness.hardware import detect, drivers
from harness.hardware.drivers import Gpu, NvidiaSmi, Nvml, RocmSmi

H200 = "0, GPU-aaaa, NVIDIA H200, 143771, 570.86.15, 700.00, 1980, 3201, Disabled"
H100 = "{}, GPU-bbb{}, NVIDIA H100 80GB HBM3, 81559, 550.54.15, 700.00, 1980, 2619, Disabled"
A100 = "{}, GPU-ccc{}, NVIDIA A100-SXM4-40GB, 40960, 535.129.03, 400.00, 1410, 1215, Disabled"
RTX4090 = "0, GPU-dddd, NVIDIA GeForce RTX 4090, 24564, 560.35.03, 450.00, 3105, 10501, [N/A]"
A6000 = "0, GPU-eeee, NVIDIA RTX A6000, 49140, 560.35.03, 300.00, 2100, 8001, [N/A]"
MIG = "0, GPU-ffff, NVIDIA H100 80GB HBM3, 81559, 550.54.15, 700.00, 1980, 2619, Enabled"


def smi(*rows: str, present: str = "") -> NvidiaSmi:
    """nvidia-smi that answers with these rows."""

    def run(*command: str) -> str:
        return present if "clocks.sm" in command[1] else "\n".join(rows)

    return NvidiaSmi(run)


def eight(row: str, count: int = 8) -> list[str]:
    return [row.format(k, k) for k in range(count)]


@pytest.mark.parametrize(
    ("rows", "name", "is_declared"),
    [
        ([H200], "1xH200", True),
        (eight(H100, 1), "1xH100", True),
        (eight(H100), "8xH100", True),
        (eight(A100, 4), "4xA100-40GB", True),
        ([RTX4090], "1xRTX4090", True),
        ([A6000], "1xrtx-a6000-48gib", False),
        (eight(H100, 3), "3xh100-80gb-hbm3-80gib", False),
        ([MIG], "1xh100-80gb-hbm3-mig-80gib", False),
        ([H200.replace("143771", "71885")], "1xh200-70gib", False),
        ([H200, eight(H100, 2)[1]], "2xh200-140gib+h100-80gb-hbm3-80gib", False),
        ([], "0xunknown-gpu", False),
    ],
)
def test_classes_by_name_memory_and_count(rows: list[str], name: str, is_declared: bool) -> None:
    found = hardware_classes.recognise([gpu.device for gpu in smi(*rows).gpus()])
    assert (found.name, found.declared) == (name, is_declared)
    assert found.evidence


def test_every_declared_class_is_recognised_and_none_is_ambiguous() -> None:
    """Each name of each card, at both ends of its memory and in every count, is that class and no other."""
    for card, facts in hardware_classes.declared_hardware().cards.items():
        for name in facts.names:
            for gib in facts.memory_gib:
                device = Device(name=name, memory_mib=round(gib * 1024))
                for count in facts.counts:
                    assert hardware_classes.recognise([device] * count).name == f"{count}x{card}"
                cards = hardware_classes.declared_hardware().cards
                assert [name for name, other in cards.items() if other.matches(device)] == [card]
    assert {"1xH200", "1xH100", "8xH100", "4xA100-40GB", "1xRTX4090"} <= set(hardware_classes.declared_classes())


def test_an_undeclared_class_is_never_the_name_of_a_declared_one() -> None:
    """A driver may call its card whatever it likes; folders on some systems ignore case."""
    taken = {name.lower() for name in hardware_classes.declared_classes()}
    for name in hardware_classes.declared_classes():
        count, _, card = name.partition("x")
        for memory in (0, 40_960, 143_771):
            found = hardware_classes.recognise([Device(name=card, memory_mib=memory)] * int(count))
            assert not found.declared
            assert found.name.lower() not in taken


def test_processors_are_named_as_in_published_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "cpu_name", lambda: "Intel Xeon model 167")
    monkeypatch.setattr(detect, "_cpuinfo", lambda: {"flags": "fpu avx2 avx512f amx_tile"})
    assert detect.hardware_class("cpu", 1) == "cpu-intel-xeon-model-167-amx-1t"
    assert detect.hardware_class("cpu", 2, ranks=4) == "4xcpu-intel-xeon-model-167-amx-2t"
    monkeypatch.setattr(detect, "_cpuinfo", lambda: {"flags": "fpu avx2"})
    assert detect.hardware_class("cpu", 1) == "cpu-intel-xeon-model-167-avx2-1t"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have this machine's driver answer with these rows."""

    def has(*rows: str, **environment: str) -> None:
        driver = smi(*rows)
        monkeypatch.setattr(detect, "find_driver", lambda: driver)
        monkeypatch.setattr(detect, "all_gpus", driver.gpus)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return has


def test_a_run_has_the_class_of_its_own_gpus(machine: Callable[..., None]) -> None:
    machine(*eight(H100))
    assert detect.hardware_class("cuda", 4, ranks=8) == "8xH100"
    assert detect.hardware_class("cuda:6", 1) == "1xH100"
    # More ranks than GPUs: the run will be refused, and its class does not pretend otherwise.
    assert detect.hardware_class("cuda:6", 1, ranks=4) == "2xH100"
    assert detect.gpu_name() == "NVIDIA H100 80GB HBM3"
    assert detect.driver_version() == "550.54.15"
    machine(*eight(H100), CUDA_VISIBLE_DEVICES="5,GPU-bbb1")
    assert [gpu.index for gpu in detect.gpus_of_run("cuda", 8)] == [5, 1]
    machine(*eight(H100), CUDA_VISIBLE_DEVICES="")
    assert detect.gpu_name() == ""


@pytest.mark.parametrize(
    ("named", "seen"),
    [
        ("1,0", [1, 0]),
        ("0,7,1", [0]),
        ("GPU-bbb2", [2]),
        ("GPU-bbb", []),
        ("MIG-GPU-bbb1/7/0", [1]),
        ("-1", []),
        ("0,0", [0]),
    ],
)
def test_hidden_gpus_are_hidden(named: str, seen: list[int]) -> None:
    found = smi(*eight(H100, 3)).gpus()
    assert [gpu.index for gpu in drivers.visible_gpus(found, {"CUDA_VISIBLE_DEVICES": named})] == seen
    assert drivers.visible_gpus(found, {}) == found


@pytest.mark.parametrize(
    ("named", "offered"),
    [("0,-1,1", ("0",)), ("1, GPU-bbb0", ("1", "GPU-bbb0")), ("0,,1", ("0",)), ("-1", ()), ("", ()), ("0,0,1", ("0",))],
)
def test_the_scheduler_offers_no_hidden_gpu(machine: Callable[..., None], named: str, offered: tuple[str, ...]) -> None:
    machine(*eight(H100, 3), CUDA_VISIBLE_DEVICES=named)
    assert list_visible_gpus() == offered


@pytest.mark.parametrize(
    ("environment", "offered"),
    [
        ({}, ("0", "1")),
        ({"HIP_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "0"}, ("1",)),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ("1",)),
        ({"HIP_VISIBLE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "1"}, ("1",)),
        ({"HIP_VISIBLE_DEVICES": ""}, ("0", "1")),
    ],
)
def test_on_amd_the_variable_of_rocm_comes_first(
    environment: dict[str, str], offered: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Device(name="AMD Instinct MI300X", memory_mib=1)
    cards = tuple(Gpu(index=index, uuid="", device=card, maker="amd") for index in (0, 1))
    monkeypatch.setattr(detect, "all_gpus", lambda: cards)
    for name in ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert list_visible_gpus() == offered
    assert [str(gpu.index) for gpu in detect.gpus_of_run("cuda", 2)] == list(offered)
    assert [gpu.index for gpu in detect.gpus_of_run("cuda", 2, visible=("1",))] == [1]
    assert drivers.visible_gpus(cards, drivers.visibility_variables(())) == ()


def test_limits_are_read_and_gaps_are_gaps() -> None:
    (gpu,) = smi(H200).gpus()
    assert gpu.device == Device(
        name="NVIDIA H200",
        memory_mib=143_771,
        driver="570.86.15",
        power_limit_w=700.0,
        max_sm_mhz=1980,
        max_memory_mhz=3201,
    )
    (gpu,) = smi(H200.replace("700.00", "[N/A]").replace("1980", "[Not Supported]")).gpus()
    assert (gpu.device.power_limit_w, gpu.device.max_sm_mhz) == (None, None)


@pytest.mark.parametrize(
    "said",
    [
        "Unable to determine the device handle for GPU 0000:03:00.0: Unknown Error",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
        "No devices were found",
        "",
    ],
)
def test_a_driver_that_complains_has_no_gpus(said: str) -> None:
    assert smi(said).gpus() == ()


def test_a_program_that_is_not_there_or_hangs_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drivers.program_output("no-such-program-here") == ""
    assert drivers.program_output("false") == ""
    monkeypatch.setattr(drivers, "TIMEOUT_S", 0.05)
    assert drivers.program_output("sleep", "60") == ""


PRESENT = "0, 1755, 3201, 688.41, 64, 0x0000000000000004\n1, 210, 405, 71.20, 31, 0x0000000000000001"


def test_the_present_state_by_program() -> None:
    driver = smi(*eight(H100, 2), present=PRESENT)
    one, two = driver.read(driver.gpus())
    assert (one.device, one.sm_mhz, one.memory_mhz, one.power_w, one.temperature_c) == (0, 1755, 3201, 688.41, 64)
    assert one.slowed == ("power limit",)
    assert two.slowed == ("idle",)
    assert [r.device for r in driver.read(driver.gpus()[1:])] == [1]


def test_drivers_that_renamed_the_field_are_asked_again() -> None:
    def run(*command: str) -> str:
        return "" if "throttle" in command[1] else PRESENT if "clocks.sm" in command[1] else "\n".join(eight(H100, 2))

    driver = NvidiaSmi(run)
    assert len(driver.read(driver.gpus())) == 2


class FakeNvml:
    """The functions of `pynvml` that are used, for two cards of which the second does not answer everything."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    class NVMLError(Exception):
        pass

    def __init__(self, *, old: bool = False) -> None:
        self._old = old

    def _text(self, text: str) -> Any:
        return text.encode() if self._old else text

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> Any:
        return self._text("NVIDIA H200")

    def nvmlDeviceGetUUID(self, handle: int) -> Any:
        return self._text(f"GPU-{handle}")

    def nvmlSystemGetDriverVersion(self) -> Any:
        return self._text("570.86.15")

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(total=143_771 << 20)

    def nvmlDeviceGetMigMode(self, handle: int) -> tuple[int, int]:
        if handle:
            raise self.NVMLError("Not Supported")
        return (0, 0)

    def nvmlDeviceGetPowerManagementLimit(self, handle: int) -> int:
        return 700_000

    def nvmlDeviceGetMaxClockInfo(self, handle: int, kind: int) -> int:
        return {1: 1980, 2: 3201}[kind]

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:
        return {1: 1755, 2: 3201}[kind]

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        if handle:
            raise self.NVMLError("GPU is lost")
        return 688_410

    def nvmlDeviceGetTemperature(self, handle: int, kind: int) -> int:
        return 64

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:
        return 0x24


@pytest.mark.parametrize("old", [False, True])
def test_the_library_says_what_the_program_says(old: bool) -> None:
    driver = Nvml(FakeNvml(old=old))
    found = driver.gpus()
    assert found[0].device == smi(H200).gpus()[0].device
    assert found[1].uuid == "GPU-1"
    one, two = driver.read(found)
    assert (one.sm_mhz, one.memory_mhz, one.power_w, one.temperature_c) == (1755, 3201, 688.41, 64)
    assert one.slowed == ("power limit", "software thermal slowdown")
    assert two.power_w is None


def test_amds_cards_are_recognised_and_marked_untested(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "card0": {"Card Series": "AMD Instinct MI300X", "VRAM Total Memory (B)": str(192 << 30)},
        "card1": {"Card series": "AMD Instinct MI300X", "VRAM Total Memory (B)": str(192 << 30)},
        "system": {"Driver version": "6.7.0"},
    }
    found = RocmSmi(lambda *command: json.dumps(said)).gpus()
    assert [(gpu.index, gpu.maker, gpu.device.driver) for gpu in found] == [(0, "amd", "6.7.0"), (1, "amd", "6.7.0")]
    assert hardware_classes.recognise([gpu.device for gpu in found]).name == "2xmi300x-192gib"
    assert RocmSmi(lambda *command: "rocm-smi: not a ROCm machine").gpus() == ()
    monkeypatch.setattr(detect, "all_gpus", lambda: found)
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)
    assert "untested" in detect.untested_warning("cuda")
    assert "untested" in detect.untested_warning("mps")
    assert detect.untested_warning("cpu") == ""


def test_apples_gpu_is_a_class_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "cpu_name", lambda: "Apple M2 Max")
    assert detect.hardware_class("mps", 1) == "1xmps-apple-m2-max"


def test_a_run_on_an_untested_device_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "-s", "wsd", "-w", "lm-tiny", "--dry-run"]
    assert cli.invoke([*arguments, "--device", "mps"]) == 0
    assert f"warning: {detect.UNTESTED['mps']}" in capsys.readouterr().err
    assert cli.invoke(arguments) == 0
    assert "tested" not in capsys.readouterr().err


def test_the_command_prints_what_is_here_and_what_is_declared(
    machine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    machine(*eight(A100, 4))
    assert cli.invoke(["hardware", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["class"] for one in said["here"]][1:] == ["1xA100-40GB", "4xA100-40GB"]
    assert {"card": "H200", "classes": ["1xH200", "2xH200", "4xH200", "8xH200"]}.items() <= said["declared"][0].items()
    assert cli.invoke(["hardware"]) == 0
    text = capsys.readouterr().out
    assert "4xA100-40GB" in text
    assert "535.129.03" in text
    machine()
    assert cli.invoke(["hardware"]) == 0
    assert "no GPU" in capsys.readouterr().out


def test_a_workload_of_the_gpu_tier_is_planned_in_its_class(
    machine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    machine(*eight(H100, 8))
    arguments = ["run", "-s", "wsd", "-w", "lm-124m-synthetic", "--dry-run", "--json"]
    classes = []
    for more in ([], ["--gpus", "8"]):
        assert cli.invoke([*arguments, *more]) == 0
        classes.append(json.loads(capsys.readouterr().out)["specs"][0]["spec"]["hardware"])
    assert classes == ["1xH100", "8xH100"]


def test_a_gpu_is_what_its_maker_says_of_it() -> None:
    """Peaks are per device and dense; a sparse figure would be twice as large."""
    assert hardware_classes.peak_tflops("1xH200") == 989.4
    assert hardware_classes.peak_tflops("4xA100-40GB") == 1248.0
    assert hardware_classes.peak_tflops("1xrtx-a6000-48gib") is None
    assert Gpu(index=0, uuid="", device=Device(name="x")).maker == "nvidia"
