"""The wire protocols: one codec each, the tensors that their bodies hold, and the endpoints that take them."""
