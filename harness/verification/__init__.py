"""Verification: checks records without running the submission, and repeats runs (docs/verification.md).

- `checks.verify_records` makes all checks of records:
  - `workload`: the workload is the installed one of this name and version.
  - `ruleset`: the ruleset is that of the benchmark.
  - `settings`: the hyperparameters follow from the ruleset and the submission.
  - `seeds`: the seeds of a record follow from its root seed or nonce.
  - `curve`: the points of a record are consistent.
  - `ending`: the status of a record follows from its points.
  - `judgements`: the judgements of a record support the trust level that it states.
  - `copies`: no records of different runs share their weights, curve or times.
  - `weights`: the saved weights give the metrics of the record.
  - `attempts`: the records of all attempts in the ledger exist.
- `rerun` repeats runs. `repetition` compares a run with its exact repetition. `fresh_seeds` compares a record with runs
  on fresh seeds.
- Evaluating the weights and repeating a run each result in an `Attestation`, a file beside the record. `scoring.trust`
  derives the trust level of a record from its attestations.
"""
