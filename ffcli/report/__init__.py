"""From stored runs to tables, their agreement with the paper, and comparisons of two sides."""
