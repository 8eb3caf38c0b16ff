"""A namespace that is closed at night: no change from 22 to 7 o'clock, whatever rights a user has by day."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from k8sext.admission import AccessRequest, Denied, Webhook, authorizer

READS = ("get", "list", "watch")
OPEN, CLOSE = 7, 22


def closed_at_night(namespace: str, clock: Callable[[], datetime.datetime] = datetime.datetime.now) -> Webhook:
    """An authorizer that denies changes in one namespace at night, and has no opinion about anything else.

    clock tells the time; a test gives its own.
    """

    @authorizer
    def night(request: AccessRequest) -> None:
        """Deny, and so end the question; or say nothing, and the next authorizer decides."""
        if request.namespace != namespace or request.verb in READS:
            return
        hour = clock().hour
        if not OPEN <= hour < CLOSE:
            raise Denied(f"{namespace} is closed from {CLOSE}:00 to {OPEN}:00, and it is past {hour}:00")

    return night
