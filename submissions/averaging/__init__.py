"""Averages of the weights that are evaluated in their place, one per file."""
