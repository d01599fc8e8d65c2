"""Kubernetes manifests for servers that are ready only once they are warm."""
