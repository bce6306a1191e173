"""Figures drawn with matplotlib: one file per figure, one style."""
