from __future__ import annotations

from hypothesis import settings

# These tests judge results, not time: a busy machine is no reason to fail.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
