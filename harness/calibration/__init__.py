"""Targets, budgets and resolution of a workload from runs of tuned references."""
