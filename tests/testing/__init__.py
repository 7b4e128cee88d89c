"""Tests of the tests for authors."""
