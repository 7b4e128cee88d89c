"""Commands for authors: check a submission or workload, and make a new package from a template."""
