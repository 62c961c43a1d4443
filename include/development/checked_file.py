"""What a check found, at the line of the pipeline file that is at fault."""

from __future__ import annotations

from include.specification.located_yaml import Document, Location
from include.specification.pipeline import Pipeline
from include.specification.pipeline_file import Finding


class Checked:
    """A pipeline and where its file says what."""

    def __init__(self, file: str, document: Document, pipeline: Pipeline) -> None:
        self.file = file
        self.document = document
        self.pipeline = pipeline

    def error(self, location: Location, rule: str) -> Finding:
        """Say what is wrong at a location of the file."""
        where = ".".join(str(part) for part in location)
        return Finding(self.file, self.document.line(location), f"{where}: {rule}")

    def warning(self, location: Location, rule: str) -> Finding:
        """Say what to know about a location of the file."""
        where = f"{'.'.join(str(part) for part in location)}: " if location else ""
        return Finding(self.file, self.document.line(location), f"{where}{rule}", "warning")
