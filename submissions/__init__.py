"""First-party submission plugins."""
