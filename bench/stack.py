"""The running stack, for benchmarks."""

from __future__ import annotations

import os

from include.settings import Settings
from stack.configuration import Configuration
from stack.environment import library_environment
from stack.layout import Layout


def connect_settings() -> Settings:
    """Read where the parts of the running stack are; plain processes read the environment."""
    layout = Layout.from_environment()
    os.environ.update(library_environment(layout, Configuration.load(layout)))
    return Settings.from_environment()
