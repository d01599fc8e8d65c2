"""Ways to send a sample."""
