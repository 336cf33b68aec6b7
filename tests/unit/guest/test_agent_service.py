"""What the agent asks the service: each request is answered once, by the service or by its loss."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from guest.agent.service import MAX_REQUESTS, Service
from tests.unit.guest.agent_harness import Linked
from wire.agent import FindUser, UserFound
from wire.codec import Message
from wire.common import Failure
from wire.errors import MessageError
from wire.frame import Role

FIND = FindUser(distribution="d", name="n")


@pytest.fixture
def linked() -> Iterator[Linked]:
    linked = Linked()
    linked.synchronise()
    yield linked
    linked.close()


def test_replies_find_their_requests(linked: Linked) -> None:
    service = Service(linked.link)
    first: list[Message] = []
    second: list[Message] = []
    service.request(FIND, first.append)
    service.request(FIND, second.append)
    linked.settle()
    numbers = [number for number, message in linked.host.messages(Role.REQUEST) if message == FIND]
    assert len(set(numbers)) == 2
    service.on_reply(numbers[1], UserFound(uid=2))
    for number in (numbers[1], 99):
        with pytest.raises(MessageError):
            service.on_reply(number, UserFound(uid=3))
    assert (first, second) == ([], [UserFound(uid=2)])


def test_a_lost_link_answers_all(linked: Linked) -> None:
    service = Service(linked.link)
    answers: list[Message] = []
    service.request(FIND, answers.append)
    service.drop_all()
    assert [type(answer) for answer in answers] == [Failure]
    assert answers[0].partial  # type: ignore[attr-defined]


def test_more_than_can_be_asked_at_once_is_refused(linked: Linked) -> None:
    service = Service(linked.link)
    answers: list[Message] = []
    for _ in range(MAX_REQUESTS):
        service.request(FIND, lambda reply: None)
    service.request(FIND, answers.append)
    assert [type(answer) for answer in answers] == [Failure]


def test_a_request_beyond_a_frame_is_refused(linked: Linked) -> None:
    service = Service(linked.link)
    answers: list[Message] = []
    service.request(FindUser(distribution="d", name="n" * (5 << 20)), answers.append)
    assert [type(answer) for answer in answers] == [Failure]
    service.drop_all()
    assert len(answers) == 1
