"""The comparison of equally tuned schedules and optimizers in docs/comparison.md."""
