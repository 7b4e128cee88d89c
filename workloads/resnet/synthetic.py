"""The workload `resnet-synthetic`: a small residual network on synthetic images, with a target cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from harness.api import WHOLE, Batch, Pool, Shard, Split, TensorPool
from workloads.redrawing import Redrawing
from workloads.resnet.classifier import ImageClassifier, pieces
from workloads.resnet.facts import SYNTHETIC_VARIANTS
from workloads.resnet.model import ResnetConfig, build
from workloads.synthetic_images import ImageSource

#: Variant → seed of the patterns of the classes.
_SEEDS = {"": 1, "classes": 2}
#: Variant → lowest possible expected cross-entropy in nats. Computing it takes a second (see
#: `ImageSource.bayes_cross_entropy`), so it is stored. A test repeats the computation.
BAYES_CROSS_ENTROPY = {"": 0.25234, "classes": 0.30241}
#: Number of images per held-out split. `score` is read at every evaluation, `audit` only once.
_IMAGES: dict[Split, int] = {"feedback": 512, "score": 2_048, "audit": 2_048}
#: Number of images per forward pass of an evaluation. With more images per pass, the activations do not fit into the
#: cache of a core.
_CHUNK = 128


class ResnetSynthetic(Redrawing, ImageClassifier):
    """Classification of synthetic images whose lowest possible cross-entropy is known (see `synthetic_images`).

    The pool has twice as many images as a run may draw, so no image has to be repeated. Every training seed has other
    images.

    Args:
        variant: name of a variant in `SYNTHETIC_VARIANTS`; empty for the workload itself. In the variant `classes`, the
            classes have other patterns.
    """

    facts = SYNTHETIC_VARIANTS[""]

    def __init__(self, variant: str = "") -> None:
        super().__init__(SYNTHETIC_VARIANTS[variant])
        self._seed, self._best = _SEEDS[variant], BAYES_CROSS_ENTROPY[variant]

    @property
    def source(self) -> ImageSource:
        """The source of the images, which gives the exact probability of every class."""
        return _source(self._seed)

    def network(self, seed: int, **options: Any) -> nn.Module:
        return build(ResnetConfig(widths=(32, 64), **options), seed)

    def train_data(self, seed: int) -> Pool:
        """Return images that are drawn from the seed.

        Fields: `x_BCHW` (float32, −1 or 1, (n, 1, 8, 8)) and `labels_B` (int64, (n,)).
        """
        images = _draw(self._seed, 2 * self.facts.budget.horizon, f"train/{seed}")
        return TensorPool(x_BCHW=images["x_BCHW"], labels_B=images["labels_B"])

    def held_out(self, split: Split, shard: Shard = WHOLE) -> Iterator[Batch]:
        return pieces(_held_out(self._seed, split, self.sample(split)), _CHUNK, shard)

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        """Return the metrics of `ImageClassifier`, and `excess`: the cross-entropy − the lowest possible one."""
        found = super().metrics(measured, split, stage)
        return found | {"excess": found["cross_entropy"] - self._best}

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, tuple[Tensor, ...]]:
        """Return the values whose means are `cross_entropy`, `accuracy` and `excess`."""
        values = super().example_values(measured, split, shard, stage)
        return values | {"excess": tuple(nats_B - self._best for nats_B in values["cross_entropy"])}


@cache
def _source(seed: int) -> ImageSource:
    return ImageSource(seed)


def _draw(seed: int, n: int, stream_seed: str) -> Batch:
    images = _source(seed).draw(n, stream_seed)
    x_BCHW = torch.from_numpy(images.pixels_NHW).float()[:, None]
    return Batch(x_BCHW=x_BCHW, labels_B=torch.from_numpy(images.labels_N))


@lru_cache(maxsize=8)
def _held_out(seed: int, split: Split, sample: str) -> Batch:
    return _draw(seed, _IMAGES[split], f"held-out/{sample}")
