"""`bench hardware`: print this machine's hardware classes and all declared classes."""

from __future__ import annotations

import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from harness.cli.commands import examples
from harness.cli.output import note, print_json
from harness.cli.trial_options import (
    threads_option,
)
from harness.errors import EXIT_OK
from harness.hardware import classes, detect
from harness.report import text
from harness.system.sandbox import find_offer


@click.command(epilog=examples("bench hardware --threads 2"))
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(threads: int, as_json: bool) -> int:
    """Print this machine's hardware classes and all declared classes.

    Only results of the same class can be compared. Hardware that is not declared gets a class of its own.
    """
    machine_rows = _machine_rows(threads)
    sandbox_name = find_offer(Path(tempfile.gettempdir())).name
    if as_json:
        print_json({"here": machine_rows, "sandbox": sandbox_name, "declared": _declared_rows()})
        return EXIT_OK
    click.echo("this machine")
    rows = [["class", "for", "declared", "recognised by"]]
    rows += [[row["class"], row["for"], "yes" if row["declared"] else "no", row["by"]] for row in machine_rows]
    click.echo(text.columns(rows))
    click.echo(f"\nsandbox of workers on a CPU: {sandbox_name}")
    gpus = detect.all_gpus()
    if gpus:
        click.echo(f"\nGPUs, read through {detect.find_driver().name}")
        click.echo(text.columns(_gpu_rows(), right_aligned=frozenset({2, 4, 5, 6})))
    else:
        click.echo("\nno GPU: no NVIDIA or AMD driver responds")
    click.echo("\ndeclared GPUs")
    table = [["classes", "name from the driver", "memory GiB", "bf16 TFLOP/s"]]
    for card in _declared_rows():
        low, high = card["memory_gib"]
        peak = f"{card['bfloat16_tflops']:g}"
        table.append([", ".join(card["classes"]), " or ".join(card["names"]), f"{low:g}–{high:g}", peak])
    click.echo(text.columns(table, right_aligned=frozenset({3})))
    for line in {detect.untested_warning(row["device"]) for row in machine_rows} - {""}:
        note(line)
    return EXIT_OK


def _machine_rows(threads: int) -> list[dict[str, Any]]:
    """Return the classes of runs on this machine: the processor, one GPU, all visible GPUs, and Apple's GPU."""
    visible = len(detect.gpus_of_run("cuda", len(detect.all_gpus())))
    configurations = [("cpu", 1, f"--threads {threads}")]
    configurations += [("cuda", n, f"--gpus {n}") for n in sorted({1, visible}) if visible]
    if sys.platform == "darwin" and platform.machine() == "arm64":
        configurations.append(("mps", 1, "--device mps"))
    rows = []
    for device, ranks, flag in configurations:
        hardware = detect.recognise_hardware(device, threads, ranks)
        fields = {"class": hardware.name, "for": flag, "device": device, "declared": hardware.declared}
        rows.append({**fields, "by": hardware.evidence})
    return rows


def _gpu_rows() -> list[list[str]]:
    visible = {gpu.index for gpu in detect.gpus_of_run("cuda", len(detect.all_gpus()))}
    rows = [["gpu", "name", "MiB", "driver", "power limit W", "SM MHz", "memory MHz", ""]]
    for gpu in detect.all_gpus():
        device = gpu.device
        limits = (device.power_limit_w, device.max_sm_mhz, device.max_memory_mhz)
        cells = ["" if limit is None else f"{limit:g}" for limit in limits]
        marks = [mark for mark, holds in (("hidden", gpu.index not in visible), ("MIG", device.partitioned)) if holds]
        rows.append([str(gpu.index), device.name, str(device.memory_mib), device.driver, *cells, ", ".join(marks)])
    return rows


def _declared_rows() -> list[dict[str, Any]]:
    return [
        {
            "card": card,
            "classes": [f"{count}x{card}" for count in facts.counts],
            "names": list(facts.names),
            "memory_gib": list(facts.memory_gib),
            "bfloat16_tflops": facts.bfloat16_tflops,
        }
        for card, facts in classes.declared_hardware().cards.items()
    ]
