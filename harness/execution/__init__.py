"""From specifications to records: scheduling, supervising, executors."""
