"""Records to numbers; pure, and without torch."""
