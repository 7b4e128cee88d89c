"""Store run folders and records on disk."""
