"""Helpers for files and processes that do not depend on the benchmark."""
