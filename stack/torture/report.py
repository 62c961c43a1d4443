"""The report of a torture, for people and for programs."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stack.torture.faults import KINDS
from stack.torture.harness import Round


@dataclass(frozen=True)
class Report:
    """What a torture showed.

    Args:
        command: How it was started.
        seed: What all faults were drawn from.
        commit: Of the code.
        seconds: How long it took, with the start of the stack.
        rounds: What came of every round.
        checked: How often each invariant was checked.
    """

    command: str
    seed: int
    commit: str
    seconds: float
    rounds: Sequence[Round]
    checked: Counter[str]

    @property
    def planned(self) -> Counter[str]:
        """Planned faults by kind."""
        return Counter(fault.kind for one in self.rounds for fault in one.planned)

    @property
    def hit(self) -> Counter[str]:
        """Faults that happened, by kind."""
        found: Counter[str] = Counter()
        for one in self.rounds:
            kinds = {fault.number: fault.kind for fault in one.planned}
            found.update(kinds[hit.fault] for hit in one.hits)
        return found

    @property
    def violations(self) -> list[dict[str, Any]]:
        """Everything that did not hold, with its round."""
        return [
            {"round": one.number, **violation}
            for one in self.rounds
            for violation in one.violations
        ]

    @property
    def holds(self) -> bool:
        """Whether nothing was violated, and most kinds of the plan really happened."""
        return not self.violations and 2 * len(self.hit) > len(self.planned)

    def to_dict(self) -> dict[str, Any]:
        """Render as a JSON-serialisable mapping."""
        return {
            "command": self.command,
            "seed": self.seed,
            "commit": self.commit,
            "machine": machine(),
            "seconds": round(self.seconds),
            "faults": {
                kind: {"planned": count, "hit": self.hit[kind]}
                for kind, count in sorted(self.planned.items())
            },
            "checked": dict(sorted(self.checked.items())),
            "violations": self.violations,
            "rounds": [
                {
                    "number": one.number,
                    "pipelines": one.pipelines,
                    "seconds": round(one.seconds),
                    "clears": one.clears,
                    "planned": [fault.to_dict() for fault in one.planned],
                    "hits": [asdict(hit) for hit in one.hits],
                    "violations": one.violations,
                }
                for one in self.rounds
            ],
        }

    def to_markdown(self) -> str:
        """Render for people."""
        hits = sum(self.hit.values())
        lines = [
            "# Report of a torture",
            "",
            f"`{self.command}` at commit `{self.commit[:12]}` on {machine()}: {hits} faults of "
            f"{len(self.hit)} kinds in {len(self.rounds)} rounds, {self.seconds / 60:.0f} minutes, "
            f"**{len(self.violations)} violations**.",
            "",
            "| fault | planned | happened |",
            "|---|---:|---:|",
        ]
        for kind in KINDS:
            if self.planned[kind]:
                lines.append(f"| {kind} | {self.planned[kind]} | {self.hit[kind]} |")
        lines += ["", "| what must hold | checked | violations |", "|---|---:|---:|"]
        broken = Counter(item["invariant"] for item in self.violations)
        for name, count in self.checked.items():
            lines.append(f"| {name} | {count} | {broken[name]} |")
        lines += [
            "",
            "| round | faults | clears | violations | seconds |",
            "|---:|---:|---:|---:|---:|",
        ]
        for one in self.rounds:
            lines.append(
                f"| {one.number} | {len(one.hits)} of {len(one.planned)} | {one.clears} | "
                f"{len(one.violations)} | {one.seconds:.0f} |"
            )
        for one in self.rounds:
            if one.violations:
                lines += ["", f"## Violations of round {one.number}", ""]
                lines += [
                    f"- {item['pipeline']}, {item['invariant']}: {item['found']}"
                    for item in one.violations
                ]
                lines += ["", "Its faults, in order:", ""]
                kinds = {fault.number: fault.kind for fault in one.planned}
                lines += [
                    f"{place}. {kinds[hit.fault]}: {hit.what} {hit.victim}".rstrip()
                    for place, hit in enumerate(one.hits, start=1)
                ]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Write both forms below a folder."""
        (folder / "report.md").write_text(self.to_markdown(), encoding="utf-8")
        text = json.dumps(self.to_dict(), indent=1)
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")


def machine() -> str:
    """Describe this machine in a few words."""
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {gibibytes:.0f} GiB, {platform.system()} {platform.machine()}"
