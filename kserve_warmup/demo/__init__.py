"""The main job end to end on real models and both real servers."""
