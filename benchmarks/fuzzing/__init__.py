"""The parts of `benchmarks/fuzz.py`: cases, functions that make them, the judge, and the processes that run them."""
