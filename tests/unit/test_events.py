from __future__ import annotations

import logging

import attrs
import pytest

from supervisor.events import AddonRemoved, AddonTokenChanged, EventBus


def test_news_reach_every_subscriber_of_its_class_in_their_order() -> None:
    bus, heard = EventBus(), []
    bus.subscribe(AddonRemoved, lambda event: heard.append(("first", event.slug)))
    bus.subscribe(AddonTokenChanged, lambda event: heard.append(("other", event.slug)))
    bus.subscribe(AddonRemoved, lambda event: heard.append(("second", event.slug)))
    bus.publish(AddonRemoved("lamp"))
    assert heard == [("first", "lamp"), ("second", "lamp")]


def test_a_failing_handler_is_logged_and_the_others_hear_the_news(caplog: pytest.LogCaptureFixture) -> None:
    bus, heard = EventBus(), []

    def fail(event: AddonRemoved) -> None:
        raise RuntimeError(event.slug)

    bus.subscribe(AddonRemoved, fail)
    bus.subscribe(AddonRemoved, heard.append)
    with caplog.at_level(logging.ERROR):
        bus.publish(AddonRemoved("lamp"))
    assert heard == [AddonRemoved("lamp")]
    assert "AddonRemoved" in caplog.text
    assert "RuntimeError" in caplog.text


def test_who_unsubscribed_hears_no_more_and_may_do_so_twice_even_while_hearing() -> None:
    bus, heard = EventBus(), []

    def once(event: AddonRemoved) -> None:
        heard.append("once")
        end()
        end()

    end = bus.subscribe(AddonRemoved, once)
    bus.subscribe(AddonRemoved, lambda _: heard.append("always"))
    bus.publish(AddonRemoved("lamp"))
    bus.publish(AddonRemoved("lamp"))
    assert heard == ["once", "always", "always"]


def test_news_of_a_derived_class_are_other_news() -> None:
    @attrs.frozen
    class Special(AddonRemoved):
        pass

    bus, heard = EventBus(), []
    bus.subscribe(AddonRemoved, heard.append)
    bus.publish(Special("lamp"))
    assert heard == []
