"""Triton: read and write model repositories, run and prove warm-up on the real server."""
