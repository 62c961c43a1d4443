"""Words leave texts where they stand alone, however they are spelt there."""

from __future__ import annotations

import pytest

from include.storage.text_redaction import Redaction


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<td>LN-12345</td>", "<td>[erased]</td>"),
        ('{"id": "LN-12345"}', '{"id": "[erased]"}'),
        ("LN-123456, XLN-12345, ln-12345", "LN-123456, XLN-12345, ln-12345"),
        ("LN-12345,LN-12345.", "[erased],[erased]."),
        ("O&#x27;Hara &amp; Söhne", "[erased]"),
        ('"O\'Hara & S\\u00f6hne"', '"[erased]"'),
        ("12 of 12", "12 of 12"),
    ],
)
def test_words(text: str, left: str) -> None:
    redaction = Redaction(["LN-12345", "LN-123", "O'Hara & Söhne", "12"])
    assert redaction.redact(text.encode()) == left.encode()


def test_what_is_no_utf_8_stays() -> None:
    data = b"\xff\xfe LN-12345 \x80"
    assert Redaction(["LN-12345"]).redact(data) == b"\xff\xfe [erased] \x80"
    assert Redaction(["1234"]).redact(data) == data
