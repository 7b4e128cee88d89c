"""Entries of the curriculum workload on language for the plugin; this module must not import torch."""

from __future__ import annotations

from harness.api import Source, WorkloadEntry
from workloads.curriculum.lm_facts import CURRICULUM_LM, CURRICULUM_LM_WIDE_INIT

_SOURCES = (
    Source(title="DataComp-LM: In search of the next generation of training sets", arxiv="2406.11794"),
    Source(title="Scaling Laws for Data Filtering", arxiv="2404.07177"),
)

ENTRIES = (
    WorkloadEntry(
        facts=CURRICULUM_LM,
        load="workloads.curriculum.lm:CurriculumLm",
        summary="a small GPT on documents with quality scores; target: a cross-entropy on clean text; no download",
        sources=_SOURCES,
        redraws_held_out=True,
    ),
    WorkloadEntry(
        facts=CURRICULUM_LM_WIDE_INIT,
        load="workloads.curriculum.lm:CurriculumLm",
        arguments={"variant": "wide-init"},
        summary="curriculum-lm with twice the standard deviation of the initial weights; no download",
        sources=_SOURCES,
        redraws_held_out=True,
    ),
)
