"""What will serve cold, told from manifests, Triton repositories and Dockerfiles; one rule a module."""
