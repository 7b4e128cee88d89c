"""Studies: experiments whose design is fixed before the first run, on top of the Python API of `harness`."""
