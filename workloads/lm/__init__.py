"""Language-model workloads: a GPT on synthetic languages of known entropy, on Shakespeare and on web text."""
