"""Tuning: run many settings of one submission, rank the settings, and store the best one.

Data flow: names → `setup.TuneSetup` (the checked search) → RunSpecs → `session.TuneSession` → Records →
`scoring.search.rank_settings` → RankedSettings → `report.tune`. `best_settings` stores the winning setting.
"""
