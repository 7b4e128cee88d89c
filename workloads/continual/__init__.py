"""Continual-learning workloads, whose training data is a stream of stages."""
