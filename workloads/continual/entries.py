"""Entries of the continual workloads for the plugin; this module must not import torch."""

from __future__ import annotations

from harness.api import Source, WorkloadEntry
from workloads.continual.facts import CONTINUAL_DIGITS, CONTINUAL_DIGITS_NOISE, LABEL_NOISE

ENTRIES = (
    WorkloadEntry(
        facts=CONTINUAL_DIGITS,
        load="workloads.continual.digits:ContinualDigits",
        summary="ten digits learnt two at a time with one head; target: a mean accuracy per stage; no download",
        sources=(
            Source(title="Three scenarios for continual learning", arxiv="1904.07734", equation="class-incremental"),
            Source(title="On Tiny Episodic Memories in Continual Learning", arxiv="1902.10486"),
        ),
    ),
    WorkloadEntry(
        facts=CONTINUAL_DIGITS_NOISE,
        load="workloads.continual.digits:ContinualDigits",
        arguments={"label_noise": LABEL_NOISE},
        summary="continual-digits with every tenth training label wrong; no download",
        sources=(Source(title="Three scenarios for continual learning", arxiv="1904.07734"),),
    ),
)
