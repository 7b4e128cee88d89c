"""Run trials: schedule them, supervise their workers, and write their records, here or on a cluster."""
