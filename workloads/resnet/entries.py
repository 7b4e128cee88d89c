"""What the image workloads offer to the plugin; nothing heavy is imported."""

from __future__ import annotations

from harness.api import Source, WorkloadEntry
from workloads.resnet.facts import RESNET_DIGITS

ENTRIES = (
    WorkloadEntry(
        facts=RESNET_DIGITS,
        load="workloads.resnet.digits:ResnetDigits",
        summary="a residual network on 8x8 digits, to a held-out cross-entropy; no download",
        sources=(Source(title="Deep Residual Learning for Image Recognition", arxiv="1512.03385"),),
    ),
)
