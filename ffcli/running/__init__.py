"""Train and record runs: one run, or the many runs of a sweep."""
