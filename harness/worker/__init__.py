"""The process that trains; the only part that imports torch."""
