"""Finds, reads, validates and loads plugins."""
