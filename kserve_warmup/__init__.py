"""Warm KServe and Triton models with real requests until they are steady, and only then report ready."""
