"""Publishing of records: selection, completeness, checks, attempts, and one step that replaces the results folder."""
