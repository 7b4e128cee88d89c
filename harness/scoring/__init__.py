"""From records to numbers: times, scores, statistics, leaderboards."""
