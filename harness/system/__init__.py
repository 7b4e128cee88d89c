"""Files and processes, without any knowledge of benchmarks."""
