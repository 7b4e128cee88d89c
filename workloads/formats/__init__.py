"""Loaders for the file formats that users have; numpy only, every complaint names the file."""
