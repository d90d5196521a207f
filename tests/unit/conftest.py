"""How hypothesis runs the unit tests."""

from hypothesis import settings

# The machine that runs the tests may be busy: an example that takes long is no failure.
settings.register_profile("captionguard", deadline=None)
settings.load_profile("captionguard")
