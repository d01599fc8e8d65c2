"""No example of Hypothesis' fails for the time that it takes: the machine may be busy."""

from hypothesis import settings

settings.register_profile("busy machine", settings(), deadline=None)
settings.load_profile("busy machine")
