"""Computes the targets and the resolution of a workload from runs of tuned references."""
