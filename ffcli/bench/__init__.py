"""Measuring the engine against the same mathematics in plain autograd, and replaying the recorded trajectories."""
