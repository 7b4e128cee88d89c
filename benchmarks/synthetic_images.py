"""Print the lowest possible loss of the synthetic images: python -m benchmarks.synthetic_images."""

from __future__ import annotations

from workloads.resnet.facts import SYNTHETIC_VARIANTS
from workloads.resnet.synthetic import ResnetSynthetic


def main() -> None:
    """Print the lowest expected cross-entropy and the highest expected accuracy of the workload and its variants."""
    for variant, facts in SYNTHETIC_VARIANTS.items():
        source = ResnetSynthetic(variant).source
        print(
            f"{facts.name} (seed {source.seed}): cross-entropy {source.bayes_cross_entropy:.4f} nats, "
            f"accuracy {source.bayes_accuracy:.3f}"
        )


if __name__ == "__main__":
    main()
