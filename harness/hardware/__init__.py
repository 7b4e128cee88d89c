"""Recognise hardware classes, and read the state of GPUs through their drivers."""
