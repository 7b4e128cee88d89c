"""Continual learning: staged streams."""
