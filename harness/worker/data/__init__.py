"""Training data: batches, pools and streams, and the sources that draw from them."""
