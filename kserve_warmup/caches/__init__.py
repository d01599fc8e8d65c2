"""Compile caches: where frameworks keep what they have compiled, and whether a start finds it there."""
