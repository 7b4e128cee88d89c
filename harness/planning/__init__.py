"""Plan trials: turn names, rulesets and options into the trials' specifications."""
