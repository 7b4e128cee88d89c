"""Datasets on disk: fetching, importing, verifying, finding them."""
