"""Training data: batches, pools, streams, and how they are drawn from."""
