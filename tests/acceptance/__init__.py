"""The pages for newcomers, typed as they stand, in environments of their own."""
