"""Gates: pairs of runs of two submissions, looked at after every pair, until one may be called better.

The data's way: names → `setup.GateSetup` (what runs, checked) → `envelopes` (the reference, where its curve is
missing) → `gate.run_gate`: `GateSetup.plan_pair(k)` → RunSpecs → a `Runner` → Records → `scoring.gate.judge_run` →
GatePair → `scoring.gate.judge_pairs` → GateLook, again and again → `GateResult` → `report.gate`. `series` keeps what
many gates one after another have decided.
"""
