"""Finding, reading, validating and loading plugins."""
