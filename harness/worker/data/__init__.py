"""Training data as a submission sees it."""
