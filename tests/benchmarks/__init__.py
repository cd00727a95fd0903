"""How fast and how small the relay is, beside yardsticks of the same run: ``python -m tests.benchmarks``."""
