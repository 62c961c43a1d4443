"""The running stack, for benchmarks."""

from __future__ import annotations

import os

from include.storage.settings import Settings
from stack.embedded.configuration import Configuration
from stack.embedded.environment import library_environment
from stack.embedded.layout import Layout


def connect_settings() -> Settings:
    """Read where the parts of the running stack are; plain processes read the environment."""
    layout = Layout.from_environment()
    os.environ.update(library_environment(layout, Configuration.load(layout)))
    return Settings.from_environment()
