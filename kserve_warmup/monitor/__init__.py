"""What the warm-up missed: programs that compile, and kinds of requests that come, after a model is ready."""
