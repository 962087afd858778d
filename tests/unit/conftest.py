"""Hypothesis on a machine that does other things too."""

from hypothesis import settings

settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
