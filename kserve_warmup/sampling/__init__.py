"""Recorded traffic to a sample set: formats, strata, sketches, selection, scrubbing."""
