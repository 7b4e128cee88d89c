"""Datasets on disk: paths, selection of files, download, import, verification."""
