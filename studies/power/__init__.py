"""The study of power, the number of pairs of submissions that a workload separates per core-hour."""
