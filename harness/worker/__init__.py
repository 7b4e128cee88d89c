"""The training process. No other package of the harness imports torch."""
