"""Plain data that every part of the harness speaks: entries, specifications, records, events, hooks."""
