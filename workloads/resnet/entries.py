"""Entries of the image workloads for the plugin; this module must not import torch."""

from __future__ import annotations

from harness.api import Source, WorkloadEntry
from workloads.resnet.facts import (
    DIGITS_VARIANTS,
    FASHION_VARIANTS,
    RESNET9_CIFAR10,
    RESNET50_IMAGENET,
    RESNET_CIFAR10,
    RESNET_FASHION,
    SYNTHETIC_VARIANTS,
)

_RESNET = Source(title="Deep Residual Learning for Image Recognition", arxiv="1512.03385")
_FASHION = Source(title="Fashion-MNIST: a Novel Image Dataset for Benchmarking", arxiv="1708.07747")
_CIFAR = Source(title="Learning Multiple Layers of Features from Tiny Images")
_ALGOPERF = Source(title="Benchmarking Neural Network Training Algorithms", arxiv="2306.07179")


def _digits(variant: str, summary: str) -> WorkloadEntry:
    return WorkloadEntry(
        facts=DIGITS_VARIANTS[variant],
        load="workloads.resnet.digits:ResnetDigits",
        arguments={"variant": variant} if variant else {},
        summary=summary,
        sources=(_RESNET,),
    )


def _synthetic(variant: str, summary: str) -> WorkloadEntry:
    return WorkloadEntry(
        facts=SYNTHETIC_VARIANTS[variant],
        load="workloads.resnet.synthetic:ResnetSynthetic",
        arguments={"variant": variant} if variant else {},
        summary=summary,
        sources=(_RESNET,),
        redraws_held_out=True,
    )


def _fashion(variant: str, summary: str) -> WorkloadEntry:
    return WorkloadEntry(
        facts=FASHION_VARIANTS[variant],
        load="workloads.resnet.fashion:ResnetFashion",
        arguments={"variant": variant} if variant else {},
        summary=summary,
        sources=(_RESNET, _FASHION),
        needs_data=("fashion-mnist",),
    )


ENTRIES = (
    _digits("", "a residual network on 8x8 digits; target: a held-out cross-entropy; no download"),
    _digits("gelu", "resnet-digits with GELU instead of ReLU, a held-out variant"),
    _synthetic("", "a residual network on synthetic 8x8 images; target: a held-out cross-entropy; no download"),
    _synthetic("classes", "resnet-synthetic with other patterns of the classes, a held-out variant"),
    _fashion("", "a residual network on 28x28 pieces of clothing; target: a held-out cross-entropy"),
    _fashion("unit-init", "resnet-fashion with blocks that do not start as the identity, a held-out variant"),
    WorkloadEntry(
        facts=RESNET9_CIFAR10,
        load="workloads.resnet.cifar:Resnet9Cifar10",
        summary="ResNet-9 on CIFAR-10; target: 93 % accuracy on the test images",
        sources=(_RESNET, Source(title="How to Train Your ResNet"), _CIFAR),
        sibling=RESNET_FASHION.name,
        needs_data=("cifar10",),
    ),
    WorkloadEntry(
        facts=RESNET_CIFAR10,
        load="workloads.resnet.cifar:ResnetCifar10",
        summary="ResNet-18 on CIFAR-10; target: 94 % accuracy on the test images",
        sources=(_RESNET, _CIFAR),
        sibling=RESNET_FASHION.name,
        needs_data=("cifar10",),
    ),
    WorkloadEntry(
        facts=RESNET50_IMAGENET,
        load="workloads.resnet.imagenet:Resnet50Imagenet",
        summary="ResNet-50 on ImageNet; target: 77.431 % accuracy on the validation images",
        sources=(_RESNET, _ALGOPERF),
        sibling=RESNET_CIFAR10.name,
        needs_data=("imagenet",),
    ),
)
