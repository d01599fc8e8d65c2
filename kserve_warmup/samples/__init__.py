"""Real requests: what they look like, how they are stored, chosen and decoded."""
