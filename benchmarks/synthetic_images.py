"""Print the best possible values of the workloads on synthetic images: python -m benchmarks.synthetic_images."""

from __future__ import annotations

from workloads.continual import synthetic_facts
from workloads.continual.synthetic import ContinualSynthetic
from workloads.resnet.facts import SYNTHETIC_VARIANTS
from workloads.resnet.synthetic import ResnetSynthetic


def main() -> None:
    """Print the lowest expected cross-entropy and the highest expected accuracy of the workloads and variants."""
    workloads: tuple[ResnetSynthetic | ContinualSynthetic, ...] = (
        *(ResnetSynthetic(variant) for variant in SYNTHETIC_VARIANTS),
        *(ContinualSynthetic(variant) for variant in synthetic_facts.FACTS),
    )
    for workload in workloads:
        source = workload.source
        print(
            f"{workload.facts.name}: noise {source.noise:g}, cross-entropy {source.bayes_cross_entropy:.4f} nats, "
            f"accuracy {source.bayes_accuracy:.4f}"
        )


if __name__ == "__main__":
    main()
