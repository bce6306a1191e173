"""Tables, their agreement with the paper, and comparisons of two sides, from stored runs."""
