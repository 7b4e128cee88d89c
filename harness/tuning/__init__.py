"""Tuning: runs of many settings of one submission, their ranking, and the best known settings that a user keeps.

The way of the data: names → `setup.TuneSetup` (what runs, checked) → RunSpecs → `session.TuneSession` → Records →
`scoring.search.rank_settings` → RankedSetting → `report.tune`. `best_settings` stores the winner.
"""
