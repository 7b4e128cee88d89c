"""First-party workload plugins."""
