"""Runs on several devices, with one process (a rank) per device."""
