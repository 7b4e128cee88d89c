"""Recognise the hardware class of a run's GPUs (`8xH100`) from the classes that are declared in `hardware.yaml`."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.contract.base import Data
from harness.contract.record import Device

_FILE = Path(__file__).with_name("hardware.yaml")
_MIB_PER_GIB = 1024


class Card(Data, frozen=True, kw_only=True):
    """A GPU that `hardware.yaml` declares.

    Args:
        names: names that the driver reports for the card.
        memory_gib: smallest and largest memory that the driver reports, in GiB.
        counts: numbers of cards for which a hardware class is declared. For example, (1, 8) declares
            `1xCARD` and `8xCARD`.
        bfloat16_tflops: peak throughput of one card in dense bf16 matrix products, as the manufacturer states it, in
            10¹² operations per second.
    """

    names: tuple[str, ...]
    memory_gib: tuple[float, float]
    counts: tuple[int, ...]
    bfloat16_tflops: float

    def matches(self, device: Device) -> bool:
        """Return whether a device is a whole card of this kind, not a partition of a card (MIG)."""
        low, high = self.memory_gib
        whole = not device.partitioned and " MIG " not in device.name
        return whole and device.name in self.names and low <= device.memory_mib / _MIB_PER_GIB <= high


class DeclaredHardware(Data, frozen=True, kw_only=True):
    """The content of `hardware.yaml`.

    Args:
        cards: the declared cards, by their name in hardware classes.
        instructions: names of instruction sets by the flag in `/proc/cpuinfo`, the most capable first.
    """

    cards: dict[str, Card]
    instructions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognisedHardware:
    """The hardware class of a run.

    Args:
        name: name of the class.
        declared: whether the class is declared in `hardware.yaml`. Always true for a CPU, which needs no declaration.
        evidence: the reason for this class, in words.
    """

    name: str
    declared: bool
    evidence: str


@functools.cache
def declared_hardware() -> DeclaredHardware:
    """Return the declared cards and instruction sets."""
    import yaml

    return msgspec.convert(yaml.safe_load(_FILE.read_text()), DeclaredHardware)


def declared_classes() -> Mapping[str, tuple[int, str]]:
    """Return the declared GPU classes by name, each with its number of cards and the card's name.

    >>> declared_classes()["8xH100"]
    (8, 'H100')
    """
    return {f"{n}x{card}": (n, card) for card, facts in declared_hardware().cards.items() for n in facts.counts}


def find_card(device: Device) -> str | None:
    """Return the name of the declared card that matches a device, or None."""
    return next((name for name, card in declared_hardware().cards.items() if card.matches(device)), None)


def recognise(devices: Sequence[Device]) -> RecognisedHardware:
    """Return the hardware class of the GPUs of one run.

    If a GPU driver responds, the name of an undeclared class ends with the memory of a GPU, such as `48gib`. No name of
    a declared class ends with `gib` (`8xA100-40GB` ends with `GB`). Therefore an undeclared class cannot have the name
    of a declared class, whatever name a driver reports.
    """
    if not devices:
        return RecognisedHardware(name="0xunknown-gpu", declared=False, evidence="no GPU driver responds")
    count = len(devices)
    cards = {find_card(device) for device in devices}
    card = next(iter(cards))
    if len(cards) == 1 and card is not None and f"{count}x{card}" in declared_classes():
        first = devices[0]
        return RecognisedHardware(
            name=f"{count}x{card}",
            declared=True,
            evidence=f"{count} × {first.name!r} with {first.memory_mib / _MIB_PER_GIB:.1f} GiB, as declared",
        )
    kinds = list(dict.fromkeys(_undeclared_name(device) for device in devices))
    names = " + ".join(dict.fromkeys(repr(device.name) for device in devices))
    if any(device.partitioned for device in devices):
        reason = "a part of a card (MIG); only whole cards are declared"
    elif len(kinds) > 1:
        reason = "the run has different cards"
    elif card is not None:
        reason = f"{card} is declared, but {count}x{card} is not"
    elif any(device.name in known.names for device in devices for known in declared_hardware().cards.values()):
        reason = f"the name is declared with a memory other than {devices[0].memory_mib / _MIB_PER_GIB:.1f} GiB"
    else:
        reason = "no declared card has this name"
    return RecognisedHardware(name=f"{count}x{'+'.join(kinds)}", declared=False, evidence=f"{names}: {reason}")


def peak_tflops(name: str) -> float | None:
    """Return the sum of the cards' `bfloat16_tflops` for a declared class, or None for any other class.

    >>> peak_tflops("8xA100-40GB"), peak_tflops("1xrtx-a6000-48gib")
    (2496.0, None)
    """
    count, card = declared_classes().get(name, (0, ""))
    return count * declared_hardware().cards[card].bfloat16_tflops if count else None


def slug(name: str) -> str:
    """Return a device's name in the form that the names of hardware classes use.

    >>> slug("NVIDIA H200"), slug("Intel Xeon model 167")
    ('h200', 'intel-xeon-model-167')
    """
    name = re.sub(r"^(NVIDIA|AMD Instinct) (GeForce )?", "", name)
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _undeclared_name(device: Device) -> str:
    """Return the name of a device in an undeclared class: its model and its memory in GiB."""
    suffix = "-mig" if device.partitioned and "mig" not in device.name.lower() else ""
    return f"{slug(device.name) or 'unknown-gpu'}{suffix}-{round(device.memory_mib / _MIB_PER_GIB)}gib"
