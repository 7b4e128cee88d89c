"""Sequential tests of paired differences, valid after every pair, and the verdicts of gates.

A difference is the log multiplier of A over B at one seed; positive means that A is better. A gate compares a candidate
A with B pair by pair until it reaches a verdict. `evidence` has the e-process, `confidence` the confidence sequence
that inverts it, `verdict` and `workloads` the verdict of a gate, `forecast` the forecast of the remaining pairs,
`series` the error control over many candidates, and `resample` the A/A resolution from stored runs.
"""
