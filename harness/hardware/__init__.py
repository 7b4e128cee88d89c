"""Hardware classes, drivers, and readings of GPUs."""
