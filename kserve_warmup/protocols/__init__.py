"""One codec a wire protocol, and the messages that protoc made."""
