"""What a check found, at the line of the pipeline file that is at fault."""

from __future__ import annotations

from include.specification.consistency import in_next
from include.specification.located_yaml import Document, Location
from include.specification.pipeline import Pipeline
from include.specification.pipeline_file import Finding


class Checked:
    """A pipeline and where its file says what.

    Args:
        file: Name of the file.
        document: Its content, with lines.
        pipeline: The pipeline.
        whole: The pipeline of the file, where that is what a migration makes of it.
    """

    def __init__(
        self, file: str, document: Document, pipeline: Pipeline, whole: Pipeline | None = None
    ) -> None:
        self.file = file
        self.document = document
        self.pipeline = pipeline
        self._whole = whole or pipeline
        self._is_to_be = whole is not None

    def to_be(self) -> Checked | None:
        """Check what a migration makes of it; None if the file names nothing."""
        following = self.pipeline.to_be()
        if following is None:
            return None
        return Checked(self.file, self.document, following, self.pipeline)

    def _at(self, location: Location) -> Location:
        if not self._is_to_be:
            return location
        return in_next(self._whole, tuple(map(str, location)))

    def error(self, location: Location, rule: str) -> Finding:
        """Say what is wrong at a location of the file."""
        location = self._at(location)
        where = ".".join(str(part) for part in location)
        return Finding(self.file, self.document.line(location), f"{where}: {rule}")

    def warning(self, location: Location, rule: str) -> Finding:
        """Say what to know about a location of the file."""
        location = self._at(location)
        where = f"{'.'.join(str(part) for part in location)}: " if location else ""
        return Finding(self.file, self.document.line(location), f"{where}{rule}", "warning")
