"""What becomes of a request that was admitted when the service was about to end."""

from __future__ import annotations

import pytest

from service.admission import unless_ending
from service.errors import ServiceError
from wire import failures

OWN = ServiceError("OWN", "its own failure")


@pytest.mark.parametrize("fails", [False, True])
def test_a_client_of_a_service_that_ends_is_sent_to_the_next_one(fails: bool) -> None:
    """Also where it has failed: most likely because the machine is being shut down."""
    with pytest.raises(ServiceError) as caught, unless_ending(lambda: True):
        if fails:
            raise OWN
    assert caught.value.code == failures.SERVICE_ENDING


def test_the_end_may_come_meanwhile() -> None:
    is_ending = False
    with pytest.raises(ServiceError) as caught, unless_ending(lambda: is_ending):
        is_ending = True
    assert caught.value.code == failures.SERVICE_ENDING


def test_otherwise_nothing_is_changed() -> None:
    with unless_ending(lambda: False):
        pass
    with pytest.raises(ServiceError) as caught, unless_ending(lambda: False):
        raise OWN
    assert caught.value is OWN
