"""Continual-learning workloads, whose training data are a stream of stages."""
