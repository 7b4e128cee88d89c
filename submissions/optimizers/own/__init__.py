"""Optimizers written here, where no installed library has the paper's method; torch is imported at the top."""
