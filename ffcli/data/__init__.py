"""Datasets: where to find them, their content, and the negatives made from them."""
