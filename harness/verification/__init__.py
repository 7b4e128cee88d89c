"""Verification: checks records without running the submission, and repeats runs (docs/verification.md).

- `checks.verify_records` makes all checks of records. `curve` checks the points of a record by themselves. `ending`
  checks that the status of a record follows from its points. `copies` finds records that share their weights or their
  curve. `weights` checks that the saved weights give the metrics of the record. `attempts` checks that the ledger
  contains every attempt.
- `rerun` repeats runs. `repetition` compares a run with its exact repetition. `fresh_seeds` compares a record with runs
  on fresh seeds.
- A check of the weights and a repetition each result in an `Attestation`, a file beside the record. `scoring.trust`
  derives the trust level of a record from its attestations.
"""
