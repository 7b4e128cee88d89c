"""Optimizers, one per file; each is a thin wrapper of a well-kept implementation where there is one."""
