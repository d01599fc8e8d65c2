"""What hooks into ``kserve.ModelServer``."""
