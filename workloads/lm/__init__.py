"""Language modelling: a synthetic language whose entropy is known, and GPTs that read characters."""
