"""AlgoPerf's published logs and scores."""
