"""Data sets: where they come from, what they contain, and the negatives made from them."""
