"""Fuzz targets run in bounded memory."""

import pytest
from hypothesis import settings

# `pytest tests/fuzz --hypothesis-profile=long`, see CONTRIBUTING.md. What it
# changes is in `fuzz_helpers.cases`.
settings.register_profile("long", settings.default)


@pytest.fixture(autouse=True)
def _bounded(bounded_memory):
  """A reader that takes all memory fails, and the machine goes on."""
