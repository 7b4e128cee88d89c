"""The plain data that the parts of the harness exchange: entries, specifications, records, events, hooks."""
