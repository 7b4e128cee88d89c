"""The observers of this package, which log runs to CSV files, TensorBoard and Weights & Biases."""
