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


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('{"rows": 20000, "ids": [20000, 20001]}', '{"rows": null, "ids": [null, 20001]}'),
        ('{"id": "20000", "told": "got 20000"}', '{"id": "[erased]", "told": "got [erased]"}'),
        ("<td>20000</td>", "<td>[erased]</td>"),
    ],
)
def test_a_page_stays_one_that_loads(text: str, left: str) -> None:
    assert Redaction(["20000"]).redact(text.encode()) == left.encode()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("got 20000", "got [erased]"),
        ('{"told": "got 20000", "rows": 20000}', '{"told": "got [erased]", "rows": 20000}'),
        ('["20000", {"a": null}]', '["[erased]", {"a": null}]'),
        ("20000", "20000"),
        ("nothing", "nothing"),
    ],
)
def test_a_value_that_code_reads_keeps_its_numbers(text: str, left: str) -> None:
    assert Redaction(["20000"]).redact_value(text) == left


def test_what_is_no_utf_8_stays() -> None:
    data = b"\xff\xfe LN-12345 \x80"
    assert Redaction(["LN-12345"]).redact(data) == b"\xff\xfe [erased] \x80"
    assert Redaction(["1234"]).redact(data) == data


@pytest.mark.parametrize("page", ["O&#39;Brien-17", "O&#x27;Brien-17", "O'Brien-17"])
def test_quotes_as_different_pages_write_them(page: str) -> None:
    assert Redaction(["O'Brien-17"]).redact(f"<b>{page}</b>".encode()) == b"<b>[erased]</b>"


def test_look_alikes_and_words_that_begin_alike() -> None:
    redaction = Redaction(["<12345>", "12345-67", "+12345"])
    text = "\u2039+12345\u203a, 12345-67, \u203912345\u203a, 12345-6"
    assert redaction.redact(text.encode()).decode() == (
        "\u2039[erased]\u203a, [erased], [erased], 12345-6"
    )
