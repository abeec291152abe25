"""Benchmarks: each module has a `main` that prints its ratios, all taken in one run."""
