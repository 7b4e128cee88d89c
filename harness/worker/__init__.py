"""The side that trains: the only part of the harness that imports torch."""
