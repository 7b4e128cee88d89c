"""Scripts that generate pages and pictures and check the documents; the pip package does not contain them."""
