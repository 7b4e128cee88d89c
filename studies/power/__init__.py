"""The study of power: how many pairs of submissions a workload separates per core-hour."""
