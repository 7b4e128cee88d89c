"""The training process. Only this package and `harness.testing` import torch."""
