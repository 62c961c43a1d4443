"""A champion whose files were changed, deleted or exchanged, and batches that it cannot score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import skops.io
from sklearn.preprocessing import FunctionTransformer

from include.registry.model_files import MODEL, REFERENCE, ModelVersion, put_file
from include.storage.object_store import ObjectStore

Damage = Callable[[ObjectStore, ModelVersion], ModelVersion]


@dataclass(frozen=True)
class Model:
    """Something that was done to a champion, or to the rows that it is to score.

    Args:
        what: What was done, in a few words.
        damage: Does it; returns the version as the registry then has it.
        says: What the refusal must say, in this order; None if every row is scored.
        rows: What was done to the rows: a column left out, or a change of its values.
    """

    what: str
    damage: Damage
    says: Sequence[str] | None
    rows: Callable[[Any], Any] = lambda frame: frame


def _as_it_was(store: ObjectStore, version: ModelVersion) -> ModelVersion:
    return version


def _changed(name: str) -> Damage:
    def change(store: ObjectStore, version: ModelVersion) -> ModelVersion:
        uri, _ = version.files[name]
        store.write(uri, store.read(uri) + b" ")
        return version

    return change


def _deleted(name: str) -> Damage:
    def delete(store: ObjectStore, version: ModelVersion) -> ModelVersion:
        store.delete(version.files[name][0])
        return version

    return delete


def _stored(name: str, data: bytes) -> Damage:
    """Put other bytes under a digest of their own, and let the registry name that."""

    def put(store: ObjectStore, version: ModelVersion) -> ModelVersion:
        file = put_file(store, version.pipeline, name, data)
        return replace(version, files={**version.files, name: file})

    return put


CASES = (
    Model(
        "a model file that was changed", _changed(MODEL), ("SHA-256 must be", "restore the object")
    ),
    Model("a model file that was deleted", _deleted(MODEL), ("must be there, got none",)),
    Model(
        "a model file that holds a function to call",
        _stored(MODEL, skops.io.dumps(FunctionTransformer(print))),
        ("must hold trusted types only", "print"),
    ),
    Model(
        "a model file that is no model (a pickle)",
        _stored(MODEL, b"\x80\x04K\x01."),
        ("must be a model as skops writes it",),
    ),
    Model("a reference that was changed", _changed(REFERENCE), ("SHA-256 must be",)),
    Model("a reference that was deleted", _deleted(REFERENCE), ("must be there, got none",)),
    Model(
        "a batch without a feature that the model was trained on",
        _as_it_was,
        ("must hold every column that the model was trained on, got none named c",),
        lambda frame: frame.drop(columns="c"),
    ),
    Model(
        "a batch with texts where the model was trained on numbers",
        _as_it_was,
        ("feature x: must hold numbers, as in training",),
        lambda frame: frame.assign(x="high"),
    ),
    Model("a batch of one row", _as_it_was, None, lambda frame: frame.head(1)),
    Model(
        "a batch with infinities",
        _as_it_was,
        None,
        lambda frame: frame.assign(x=float("inf")),
    ),
    Model("a constant feature", _as_it_was, None, lambda frame: frame.assign(x=1.0)),
    Model(
        "a feature of nothing but null",
        _as_it_was,
        None,
        lambda frame: frame.assign(x=float("nan")),
    ),
    Model("categories that were never seen", _as_it_was, None, lambda frame: frame.assign(c="new")),
    Model(
        "a category of its own for each row",
        _as_it_was,
        None,
        lambda frame: frame.assign(c=[f"c{n}" for n in range(len(frame))]),
    ),
)
