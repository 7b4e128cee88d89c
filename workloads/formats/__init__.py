"""Readers of the file formats of datasets. They need only numpy, and every error message names the file."""
