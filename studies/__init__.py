"""Studies: each uses the Python API of `harness`, and its design was fixed before the first run."""
