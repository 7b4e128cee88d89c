"""Studies that use the Python API of `harness` and whose design is fixed before the first run."""
