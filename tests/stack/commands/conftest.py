"""A person's shell: the stack is down, and the environment may name a store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from include.storage.object_store import ObjectStore
from include.storage.settings import STORE_VARIABLES, StoreSettings


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack that is down and no store; returns a folder for files."""
    monkeypatch.setenv("RELEVO_STATE", str(tmp_path / "state"))
    for name in [name for name in os.environ if name.startswith(STORE_VARIABLES)]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def store(
    shell: Path, store_settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    """A real store that the environment names."""
    access_key, secret_key = store_settings.keys
    monkeypatch.setenv("RELEVO_STORE_ENDPOINT_URL", str(store_settings.endpoint_url))
    monkeypatch.setenv("RELEVO_STORE_ACCESS_KEY", str(access_key))
    monkeypatch.setenv("RELEVO_STORE_SECRET_KEY", str(secret_key))
    return ObjectStore(store_settings)
