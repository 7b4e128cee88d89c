"""Scripts that generate pages and pictures and check the documents; they are not part of the package."""
