"""Sequential tests of paired differences, valid after every pair, and the verdicts of gates.

A gate compares a candidate A with a submission B, pair by pair, until there is a verdict. Both runs of a pair have the
same seed. The compute multiplier of A over B is (the reference's budget for A's metric) / (the reference's budget for
B's metric). The difference of a pair is the logarithm of the multiplier. A positive difference means that A is better.

- `evidence`: the e-process, a test that is valid after every pair.
- `confidence`: the confidence sequence, the set of centres that the e-process does not reject.
- `verdict` and `workloads`: the verdict of a gate on one or several workloads.
- `forecast`: the forecast of the number of further pairs.
- `series`: the control of errors over many candidates.
- `resample`: the rate of false verdicts, estimated from stored runs of one submission.
- `batch`: many simulated gates at once.
"""
