"""Run trials: schedule them, supervise their workers, and write their records, on this machine or on a cluster."""
