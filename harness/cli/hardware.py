"""`bench hardware`: the hardware classes of this machine, and the declared ones."""

from __future__ import annotations

import platform
import sys
from typing import Any

import click

from harness.cli.output import SCHEMA, json_out, note
from harness.errors import EXIT_OK
from harness.hardware import classes, detect
from harness.report import text


@click.command()
@click.option(
    "--threads", type=click.IntRange(1), default=1, envvar="BENCH_THREADS", show_default=True,
    help="Processor threads of a trial; part of a processor's class.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(threads: int, as_json: bool) -> int:
    """Print the hardware classes of this machine and the declared ones.

    Results compare within a class and never across classes. What is not declared is a class of its own.
    """
    here = _here(threads)
    if as_json:
        json_out({"schema": SCHEMA, "here": here, "declared": _declared()})
        return EXIT_OK
    click.echo("this machine")
    rows = [["class", "for", "declared", "recognised by"]]
    rows += [[one["class"], one["for"], "yes" if one["declared"] else "no", one["by"]] for one in here]
    click.echo(text.columns(rows))
    gpus = detect.all_gpus()
    if gpus:
        click.echo(f"\nGPUs, by {detect.driver().name}")
        click.echo(text.columns(_gpu_rows(), right=frozenset({2, 4, 5, 6})))
    else:
        click.echo("\nno GPU: neither NVIDIA's nor AMD's driver answers")
    click.echo("\ndeclared GPUs")
    table = [["classes", "the driver's name", "GiB", "bf16 TFLOP/s"]]
    for one in _declared():
        low, high = one["memory_gib"]
        peak = f"{one['bfloat16_tflops']:g}"
        table.append([", ".join(one["classes"]), " or ".join(one["names"]), f"{low:g}–{high:g}", peak])
    click.echo(text.columns(table, right=frozenset({3})))
    for line in {detect.untested_warning(one["device"]) for one in here} - {""}:
        note(line)
    return EXIT_OK


def _here(threads: int) -> list[dict[str, Any]]:
    """The classes that a run on this machine may be in: the processor, one GPU, all of them."""
    visible = len(detect.run_gpus("cuda", len(detect.all_gpus())))
    runs = [("cpu", 1, f"--threads {threads}")]
    runs += [("cuda", n, f"--gpus {n}") for n in sorted({1, visible}) if visible]
    if sys.platform == "darwin" and platform.machine() == "arm64":
        runs.append(("mps", 1, "--device mps"))
    found = []
    for device, ranks, flag in runs:
        one = detect.recognised(device, threads, ranks)
        found.append({"class": one.name, "for": flag, "device": device, "declared": one.declared, "by": one.by})
    return found


def _gpu_rows() -> list[list[str]]:
    seen = {gpu.index for gpu in detect.run_gpus("cuda", len(detect.all_gpus()))}
    rows = [["gpu", "name", "MiB", "driver", "power limit W", "SM MHz", "memory MHz", ""]]
    for gpu in detect.all_gpus():
        one = gpu.device
        limits = ["" if x is None else f"{x:g}" for x in (one.power_limit_w, one.max_sm_mhz, one.max_memory_mhz)]
        marks = [mark for mark, holds in (("hidden", gpu.index not in seen), ("MIG", one.partitioned)) if holds]
        rows.append([str(gpu.index), one.name, str(one.memory_mib), one.driver, *limits, ", ".join(marks)])
    return rows


def _declared() -> list[dict[str, Any]]:
    return [
        {
            "card": card,
            "classes": [f"{count}x{card}" for count in facts.counts],
            "names": list(facts.names),
            "memory_gib": list(facts.memory_gib),
            "bfloat16_tflops": facts.bfloat16_tflops,
        }
        for card, facts in classes.declared().cards.items()
    ]
