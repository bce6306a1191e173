"""Benchmarks: time the engine against the same mathematics in plain autograd, and replay recorded trajectories."""
