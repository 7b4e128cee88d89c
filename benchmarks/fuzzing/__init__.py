"""The parts of `benchmarks/fuzz.py`: cases, generators of cases by kind of input, and the processes that run them."""
