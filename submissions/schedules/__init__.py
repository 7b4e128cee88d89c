"""Learning-rate schedules, one per file: pure functions of progress.

One convention for all: t is the 0-based index of the update, warmup is t/W, and the end value is reached at t = T
and kept afterwards. `warmup` and `decay` below 1 are shares of T, from 1 on numbers of updates.
"""
