"""Alerts as people and programs read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from include.monitoring.alerts import Alert, Message
from include.reports.alert_messages import Letter, write
from include.specification.pipeline import Pipeline

DRIFT = Alert("drift/2005-Q1", "drift", "2005-Q1", "3 <of> 8 features drifted.")


@pytest.fixture
def letter(make_pipeline: Callable[..., Pipeline]) -> Callable[..., Letter]:
    pipeline = make_pipeline(name="loans")

    def links(alert: Alert) -> Mapping[str, str]:
        return {"decisions": f"https://x/{alert.partition}?a=1&b=2"}

    def make(*alerts: Alert, is_repeated: bool = False) -> Letter:
        return write(pipeline, Message("team", alerts, is_repeated), links)

    return make


def test_one_alert(letter: Callable[..., Letter]) -> None:
    told = letter(DRIFT)
    assert told.subject == "loans 2005-Q1: drift"
    assert told.text == (
        "loans 2005-Q1: drift\n\n"
        "2005-Q1: 3 <of> 8 features drifted.\n"
        "- decisions: https://x/2005-Q1?a=1&b=2"
    )
    assert "3 &lt;of&gt; 8 features drifted." in told.html
    assert 'href="https://x/2005-Q1?a=1&amp;b=2"' in told.html


def test_one_without_a_partition(letter: Callable[..., Letter]) -> None:
    told = letter(replace(DRIFT, kind="failure", partition="", reason="x failed."))
    assert told.subject == "loans: a task failed"
    assert told.text.splitlines()[2] == "x failed."


def test_one_that_is_repeated_says_so(letter: Callable[..., Letter]) -> None:
    told = letter(DRIFT, is_repeated=True)
    assert told.document["repeated"] is True
    for form in (told.text, told.html):
        assert "This was sent before, and it is not known whether it arrived." in form
    assert letter(DRIFT).message_id == told.message_id


def test_of_many_the_text_tells_some_and_the_document_all(letter: Callable[..., Letter]) -> None:
    many = [replace(DRIFT, key=str(year), partition=f"{year}-Q1") for year in range(1990, 2013)]
    told = letter(*many)
    assert told.subject == "loans 1990-Q1, 1991-Q1, 1992-Q1 and 20 more: drift"
    for form in (told.text, told.html):
        assert "2009-Q1" in form
        assert "2010-Q1" not in form
        assert "And 3 more." in form
    assert [alert["partition"] for alert in told.document["alerts"]] == [
        alert.partition for alert in many
    ]


def test_several_of_one_partition_are_named_once(letter: Callable[..., Letter]) -> None:
    told = letter(DRIFT, replace(DRIFT, key="other"))
    assert told.subject == "loans 2005-Q1: drift"
