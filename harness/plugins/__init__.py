"""Find, read, validate and load plugins."""
