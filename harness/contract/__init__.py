"""The plain data that all packages of the harness exchange: entries, specifications, records, events and hooks."""
