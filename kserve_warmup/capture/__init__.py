"""A model records its own traffic, for the next start."""
