"""One codec a wire protocol."""
