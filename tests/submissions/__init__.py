"""Tests of the first-party submissions."""
