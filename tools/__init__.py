"""Scripts that write generated pages and pictures, and check the documents; none is part of the package."""
