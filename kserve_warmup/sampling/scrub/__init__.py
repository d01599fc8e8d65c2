"""Rules that take private content out of requests before anything is stored."""
