"""Plan trials: turn names, rulesets and options into the specifications of trials."""
