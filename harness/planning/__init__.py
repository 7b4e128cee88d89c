"""From names and rules to the specifications of trials."""
