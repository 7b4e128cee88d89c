"""The plugin with the workloads of AlgoRace."""
