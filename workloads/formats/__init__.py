"""Readers of data-set file formats, with numpy only; every error message names the file."""
