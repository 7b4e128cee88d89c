"""Synthetic images: exact probabilities, the lowest possible loss, equal bytes everywhere, and the workload on them."""

from __future__ import annotations

import hashlib
import math
from collections import Counter

import numpy as np
import pytest
import torch

from harness.worker.protocols import Workload
from workloads.resnet.synthetic import BAYES_CROSS_ENTROPY, ResnetSynthetic
from workloads.synthetic_images import CLASSES, SIDE, ImageSource

#: SHA-256 of the pixels and the labels of 1,000 images of the stream `x` of seed 1.
DIGEST = "2c6bb5106bf7833b0b2b6df984f0ce5ebdf542942aa7b59fd19b64e35fb6865c"


@pytest.fixture(scope="module")
def source() -> ImageSource:
    return ImageSource(1)


def test_images_never_change(source: ImageSource) -> None:
    images = source.draw(1_000, "x")
    assert hashlib.sha256(images.pixels_NHW.tobytes() + images.labels_N.astype("<i8").tobytes()).hexdigest() == DIGEST


@pytest.mark.parametrize("seed", [1, 2])
def test_patterns_are_half_white_and_differ(seed: int) -> None:
    source = ImageSource(seed)
    assert source.patterns_KHW.shape == (CLASSES, SIDE, SIDE)
    assert (source.patterns_KHW.sum(axis=(1, 2)) == 0).all()
    moves = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    shifted = {np.roll(pattern, move, (0, 1)).tobytes() for pattern in source.patterns_KHW for move in moves}
    assert len(shifted) == CLASSES * len(moves)
    assert not np.array_equal(source.patterns_KHW, ImageSource(seed + 1).patterns_KHW)


def test_fewer_images_are_the_beginning_of_more(source: ImageSource) -> None:
    few, many = source.draw(3, "x"), source.draw(50, "x")
    assert np.array_equal(few.pixels_NHW, many.pixels_NHW[:3])
    assert np.array_equal(few.labels_N, many.labels_N[:3])
    assert not np.array_equal(many.pixels_NHW, source.draw(50, "y").pixels_NHW)


def test_classes_and_inverted_pixels_are_as_frequent_as_declared(source: ImageSource) -> None:
    images = source.draw(20_000, "frequencies")
    counts = np.bincount(images.labels_N, minlength=CLASSES)
    assert np.abs(counts - 2_000).max() < 5 * math.sqrt(2_000 * 0.9)
    # The pattern and shift with the fewest different pixels is nearly always the true one, so this is a lower bound of
    # the noise, and close to it.
    shifted = source._shifted_KSP[images.labels_N]
    different = (shifted != images.pixels_NHW.reshape(-1, 1, SIDE * SIDE)).sum(axis=2).min(axis=1)
    assert 0.235 < different.mean() / SIDE**2 < 0.25 == source.noise


def test_probabilities_follow_bayes_rule(source: ImageSource) -> None:
    """Against the product of the probabilities of single pixels, without logarithms."""
    images = source.draw(20, "bayes")
    for pixels, found in zip(images.pixels_NHW, source.log_probs(images.pixels_NHW), strict=True):
        joint = []
        for pattern in source.patterns_KHW:
            shifts = [np.roll(pattern, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            joint.append(
                sum(
                    math.prod(0.75 if a == b else 0.25 for a, b in zip(s.flat, pixels.flat, strict=True))
                    for s in shifts
                )
            )
        assert np.exp(found) == pytest.approx(np.array(joint) / sum(joint), rel=1e-9)


def test_other_pixels_are_refused(source: ImageSource) -> None:
    with pytest.raises(ValueError, match="neither"):
        source.log_probs(np.zeros((1, 8, 8), np.int8))


def test_probabilities_are_calibrated(source: ImageSource) -> None:
    """Of the images to which the rule gives a class with a probability of about p, a share p has this class."""
    images = source.draw(20_000, "calibrated")
    probs_NK = np.exp(source.log_probs(images.pixels_NHW))
    assert probs_NK.sum(axis=1) == pytest.approx(1.0)
    hits_NK = images.labels_N[:, None] == np.arange(CLASSES)
    for low in (0.1, 0.3, 0.5, 0.7, 0.9):
        chosen = (probs_NK >= low) & (probs_NK < low + 0.1)
        p, n = probs_NK[chosen].mean(), chosen.sum()
        assert abs(hits_NK[chosen].mean() - p) < 4 * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("variant", ["", "classes"])
def test_stored_bayes_cross_entropy(variant: str) -> None:
    source = ResnetSynthetic(variant).source
    assert BAYES_CROSS_ENTROPY[variant] == pytest.approx(source.bayes_cross_entropy, abs=1e-5)
    # The mean of the exact negative log-probabilities of the true classes has the same expectation.
    images = source.draw(20_000, "check")
    nats_N = -source.log_probs(images.pixels_NHW)[np.arange(20_000), images.labels_N]
    assert abs(nats_N.mean() - BAYES_CROSS_ENTROPY[variant]) < 4 * nats_N.std() / math.sqrt(20_000)


def test_every_seed_has_other_training_images_and_none_are_held_out() -> None:
    workload = ResnetSynthetic()
    assert isinstance(workload, Workload)
    pool, other = workload.train_data(0), workload.train_data(1)
    assert len(pool) == 2 * workload.facts.budget.horizon
    rows = torch.arange(len(pool))
    images = [p.gather(rows)["x_BCHW"].flatten(1) for p in (pool, other)]
    images += [
        torch.cat([b["x_BCHW"].flatten(1) for b in workload.held_out(s)]) for s in ("feedback", "score", "audit")
    ]
    assert [len(x) for x in images[2:]] == [512, 2_048, 2_048]
    assert set(torch.unique(images[0]).tolist()) == {-1.0, 1.0}
    found = Counter(row.numpy().tobytes() for x in images for row in x)
    assert max(found.values()) == 1


def test_excess_is_the_distance_to_the_lowest_possible_loss() -> None:
    workload = ResnetSynthetic()
    model = workload.build_model(0).eval()
    found = workload.evaluate(model, "score")
    assert set(found) == {"cross_entropy", "se", "accuracy", "excess"}
    assert found["excess"] == pytest.approx(found["cross_entropy"] - 0.25234)
    values = workload.example_values(workload.measure(model, "score"), "score")
    assert {name: float(one.double().mean()) for name, (one,) in values.items()} == pytest.approx(
        {name: value for name, value in found.items() if name != "se"}
    )


def test_a_model_with_the_exact_probabilities_has_no_excess(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = ResnetSynthetic()

    class Exact(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(workload.source.log_probs(x_BCHW[:, 0].to(torch.int8).numpy()))

    found = workload.evaluate(Exact().eval(), "score")
    assert abs(found["excess"]) < 4 * found["se"]


def test_ignoring_the_shifts_costs_accuracy() -> None:
    """A classifier that does not know the shifts is worse than the exact one, so the network has to learn them."""
    source = ImageSource(1)
    images = source.draw(5_000, "unshifted")
    signs_NP = images.pixels_NHW.reshape(5_000, -1).astype(float)
    unshifted = signs_NP @ source.patterns_KHW.reshape(CLASSES, -1).T.astype(float)
    exact = source.log_probs(images.pixels_NHW).argmax(axis=1) == images.labels_N
    assert exact.mean() > (unshifted.argmax(axis=1) == images.labels_N).mean() + 0.1
