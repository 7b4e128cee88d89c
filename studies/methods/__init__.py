"""The comparison of schedules and optimizers, tuned alike: docs/comparison.md."""
