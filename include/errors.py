"""What can go wrong, as one small tree.

    RelevoError
    ├── SpecificationError    a pipeline file, or what it names, is wrong
    ├── SettingsError         a connection or an environment variable is missing or wrong
    ├── PartitionError        a partition cannot be named, parsed or derived
    ├── SourceError           landed data is missing, unreadable, or of another shape
    │   └── UnavailableError  a store or a database does not answer, or another run came first:
    │                         trying again may help
    ├── QualityError          critical expectations stop a batch
    ├── TableError            a table is missing, or a write would break its promise
    ├── FeatureError          a feature function broke its contract
    ├── TrainingError         a training set or a candidate cannot be made
    ├── RegistryError         a model version is missing, unverified, or not what it claims
    │   ├── HeldBackError     a person froze the champion, or refused the version to promote
    │   └── RetiredError      a person retired the pipeline
    └── MonitoringError       a profile, a drift verdict or a performance figure cannot be made

Messages read ``<subject> <name>: <rule>, got <value>. <what to do>.``
"""

from __future__ import annotations


class RelevoError(Exception):
    """Base of every error that a user of Relevo is expected to read."""


class SpecificationError(RelevoError):
    """A pipeline file, or something that it names, is wrong."""


class SettingsError(RelevoError):
    """A connection or an environment variable is missing or wrong."""


class PartitionError(RelevoError):
    """A partition cannot be named, parsed or derived from a run."""


class SourceError(RelevoError):
    """Landed data is missing, unreadable, or has another shape than before."""


class UnavailableError(SourceError):
    """A store or a database does not answer, or another run came first; trying again may help."""


class QualityError(RelevoError):
    """Critical expectations stop a batch."""


class TableError(RelevoError):
    """A table is missing, or a write would break its promise."""


class FeatureError(RelevoError):
    """A feature function broke its contract."""


class TrainingError(RelevoError):
    """A training set or a candidate cannot be made."""


class RegistryError(RelevoError):
    """A model version is missing, unverified, or not what it claims to be."""


class HeldBackError(RegistryError):
    """A person froze the champion, or refused the version that was to be promoted."""


class RetiredError(RegistryError):
    """A person retired the pipeline, so that nothing works on it any more."""


class MonitoringError(RelevoError):
    """A profile, a drift verdict or a performance figure cannot be made."""
