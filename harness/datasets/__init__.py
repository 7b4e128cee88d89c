"""Select, download, import and verify the files of datasets."""
