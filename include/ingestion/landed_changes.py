"""Let commits tell of landed files as they are now, after a change that is no correction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.ingestion.landed_digests import LandedDigest


@dataclass(frozen=True)
class LandedChange:
    """What was landed of one partition, before a change and after it.

    Args:
        before: Digest of what lay there before.
        after: Digest of what lies there now.
    """

    before: LandedDigest
    after: LandedDigest

    def told(self, held: LandedDigest) -> LandedDigest:
        """Change what a commit tells; what it told otherwise than it was stays, so it is stale."""
        return LandedDigest(
            files=None if held.files is None else self._files(held.files),
            place=self.after.place if held.place == self.before.place else held.place,
            rows=self.after.rows if held.rows == self.before.rows else held.rows,
            repairs=held.repairs,
        )

    def _files(self, held: Mapping[str, str]) -> dict[str, str]:
        before, after = self.before.files or {}, self.after.files or {}
        if held == before:
            return dict(after)
        changed = {
            name: after.get(name) if before.get(name) == tag else tag for name, tag in held.items()
        }
        return {name: tag for name, tag in changed.items() if tag is not None}


@dataclass(frozen=True)
class LandedChanges:
    """Changes by partition.

    Args:
        before: By partition, what lay there before.
        after: By partition, what lies there now.
    """

    before: Mapping[str, LandedDigest]
    after: Mapping[str, LandedDigest]

    def told(self, details: Mapping[str, str]) -> Mapping[str, str]:
        """Change the details of a commit; those without landed data stay as they are."""
        if "landed" not in details:
            return details
        landed: dict[str, Any] = json.loads(details["landed"])
        for name, held in landed.items():
            if name in self.before and name in self.after:
                change = LandedChange(self.before[name], self.after[name])
                landed[name] = change.told(LandedDigest(**held)).to_dict()
        return {**details, "landed": json.dumps(landed, sort_keys=True)}
