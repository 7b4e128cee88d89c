"""Records and tables of times in, scores and comparisons out: pure functions, no torch, no files but published logs."""
