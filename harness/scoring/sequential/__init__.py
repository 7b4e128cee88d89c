"""Sequential tests of paired differences: evidence that may be looked at after every pair, and verdicts from it.

A difference is the log multiplier of A over B at one seed; positive means that A is better. `evidence` is the
e-process, `confidence` the confidence sequence that inverts it, `verdict` and `workloads` the gate, `forecast` the
pairs still needed, `series` the error control over many candidates, `resample` the A/A resolution from stored runs.
"""
