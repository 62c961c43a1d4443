"""Take words out of pages, logs and other texts on the store."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from include.storage.object_store import THREADS, ObjectStore, content_type
from include.templates import without_markup

# In a text a shorter word is as likely a count or a date; taking it out would spoil the text.
FEWEST_CHARACTERS = 5
_INSTEAD = "[erased]"
# How far JSON indents.
_NEAR = 80
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_RUN = re.compile("[0-9A-Za-z]+")


class Redaction:
    """Words that are taken out where they stand alone, also as HTML and JSON write them.

    However many there are, a text is gone through once: a word is looked up by its first letters
    and digits.

    Args:
        words: The words; those below ``FEWEST_CHARACTERS`` are left out.
    """

    def __init__(self, words: Collection[str]) -> None:
        # By its first run of letters and digits: where that begins in a word, and the word.
        self._words: dict[str, list[tuple[int, str]]] = {}
        spelt = {
            spelling
            for word in words
            if len(word) >= FEWEST_CHARACTERS
            for spelling in _spellings(word)
        }
        # Of words that begin alike the longest one is meant.
        for spelling in sorted(spelt, key=lambda word: (-len(word), word)):
            if run := _RUN.search(spelling):
                self._words.setdefault(run[0], []).append((run.start(), spelling))

    def redact(self, data: bytes) -> bytes:
        """Return a text without the words; whatever is not UTF-8 stays as it is."""
        text = data.decode("utf-8", "surrogateescape")
        return self._sub(text).encode("utf-8", "surrogateescape")

    def redact_value(self, text: str) -> str:
        """Return a text without the words; of JSON the texts in it, and no number."""
        if self._sub(text) == text:
            return text
        try:
            held = json.loads(text)
        except ValueError:
            return self._sub(text)
        return json.dumps(self._without(held))

    def _without(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._without(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._without(item) for item in value]
        return self._sub(value) if isinstance(value, str) else value

    def _sub(self, text: str) -> str:
        if not self._words:
            return text
        parts, done = [], 0
        for run in _RUN.finditer(text):
            for offset, word in self._words.get(run[0], ()):
                start, end = run.start() - offset, run.start() - offset + len(word)
                if start < done or not text.startswith(word, start) or _goes_on(text, start, end):
                    continue
                # A number of JSON, or of a script, is no text: the page would not load with one.
                is_number = _NUMBER.fullmatch(word) and _is_between_values(text, start, end)
                parts += [text[done:start], "null" if is_number else _INSTEAD]
                done = end
                break
        return "".join((*parts, text[done:]))

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


def _spellings(word: str) -> set[str]:
    """Spell a word as pages, logs and JSON do."""
    plain = {word, without_markup(word)}
    plain |= {json.dumps(one)[1:-1] for one in plain}
    escaped = {html.escape(one) for one in plain}
    # Jinja writes quotes otherwise than Python.
    theirs = {one.replace("&#x27;", "&#39;").replace("&quot;", "&#34;") for one in escaped}
    return plain | escaped | theirs


def _goes_on(text: str, start: int, end: int) -> bool:
    """Tell whether a word is only a part of a longer one."""
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    return bool(_RUN.fullmatch(before) or _RUN.fullmatch(after))


def _is_between_values(text: str, start: int, end: int) -> bool:
    """Tell whether a word stands where JSON has a number."""
    before = text[max(0, start - _NEAR) : start].rstrip()[-1:]
    after = text[end : end + _NEAR].lstrip()[:1]
    return before in (":", ",", "[") and after in (",", "]", "}")
