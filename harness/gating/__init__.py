"""Gates: sequential paired tests of a candidate submission A against a submission B (docs/gate.md).

A gate trains both submissions with equal seeds to a short budget, and tests the differences after every pair of runs.
It stops as soon as the test has a verdict.

- `setup.GateSetup` holds the two submissions and the workloads, and checks that they can run.
- `envelopes` runs the reference on a workload that has no envelope yet.
- `gate.run_gate` is the loop. For each pair, `GateSetup.plan_pair` makes the specifications, a `Runner` turns them into
  records, `scoring.gate.judge_run` extracts the results, and `scoring.gate.judge_pairs` computes the verdict so far.
- `report.gate` renders the `GateResult`.
- `series` stores the verdicts on many candidates that are gated one after another.
"""
