"""Take words out of pages, logs and other texts on the store."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from include.storage.object_store import THREADS, ObjectStore, content_type

# In a text a shorter word is as likely a count or a date; taking it out would spoil the text.
FEWEST_CHARACTERS = 5
_INSTEAD = "[erased]"


class Redaction:
    """Words that are taken out where they stand alone, also as HTML and JSON write them.

    Args:
        words: The words; those below ``FEWEST_CHARACTERS`` are left out.
    """

    def __init__(self, words: Collection[str]) -> None:
        long = {word for word in words if len(word) >= FEWEST_CHARACTERS}
        spelt = {
            spelling
            for word in long
            for spelling in (word, html.escape(word), json.dumps(word)[1:-1])
        }
        longest_first = sorted(spelt, key=lambda word: (-len(word), word))
        any_word = "|".join(map(re.escape, longest_first))
        alone = rf"(?<![0-9A-Za-z])(?:{any_word})(?![0-9A-Za-z])"
        self._words = re.compile(alone) if long else None
        # A number of JSON, or of a script, is no text: the page would not load with one.
        self._numbers = re.compile(rf"(?<=[:,\[])(\s*)(?:{any_word})(?=\s*[,\]}}])")

    def redact(self, data: bytes) -> bytes:
        """Return a text without the words; whatever is not UTF-8 stays as it is."""
        if self._words is None:
            return data
        text = data.decode("utf-8", "surrogateescape")
        text = self._words.sub(_INSTEAD, self._numbers.sub(r"\1null", text))
        return text.encode("utf-8", "surrogateescape")

    def redact_value(self, text: str) -> str:
        """Return a text without the words; of JSON the texts in it, and no number."""
        if self._words is None or self._words.search(text) is None:
            return text
        try:
            held = json.loads(text)
        except ValueError:
            return self._words.sub(_INSTEAD, text)
        return json.dumps(self._without(held))

    def _without(self, value: Any) -> Any:
        assert self._words is not None  # or nothing was found
        if isinstance(value, dict):
            return {name: self._without(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._without(item) for item in value]
        return self._words.sub(_INSTEAD, value) if isinstance(value, str) else value

    def redact_below(
        self, store: ObjectStore, uri: str, wanted: Callable[[str], bool]
    ) -> tuple[str, ...]:
        """Redact the objects below a folder.

        Args:
            store: Where they are.
            uri: The folder.
            wanted: Tells of an address whether it holds a text.

        Returns:
            Addresses of those that held one of the words, sorted.
        """

        def redact(address: str) -> bool:
            held = store.read(address)
            if (cleaned := self.redact(held)) == held:
                return False
            store.write(address, cleaned, content_type(address))
            return True

        addresses = [item.uri for item in store.list(uri) if wanted(item.uri)]
        store.connect()
        with ThreadPoolExecutor(THREADS) as pool:
            changed = list(pool.map(redact, addresses))
        return tuple(uri for uri, is_changed in zip(addresses, changed, strict=True) if is_changed)
