"""Computes times, scores, statistics and leaderboards from records."""
