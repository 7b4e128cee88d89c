"""Verification: checks records without running the submission, and repeats runs (docs/verification.md).

- `checks.verify_records` checks records one by one. `curve` checks the points of a record, `ending` whether its status
  follows from them, `copies` whether two records share their weights or their curve, `weights` whether the saved
  weights give its metrics, and `attempts` whether the ledger contains every attempt.
- `rerun` repeats a run: `repetition` compares it exactly, `fresh_seeds` compares runs on fresh seeds with the record.
- The outcome of a repetition is an `Attestation` beside the record. `scoring.trust` derives the trust level from them.
"""
