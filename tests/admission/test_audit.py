"""Reading an audit log while it is being written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from k8sext.admission import audit
from k8sext.admission.audit import AuditLog
from k8sext.admission.trace import _go_duration


def event(audit_id: str, **more: Any) -> str:
    reference = {"resource": "pods", "namespace": "n", "name": more.pop("name", "p")}
    known = {"auditID": audit_id, "stage": "ResponseComplete", "verb": "create", "objectRef": reference}
    return json.dumps(known | more) + "\n"


def test_a_line_is_read_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    log = AuditLog(file)
    assert log.refresh() == []
    second = event("2")
    file.write_text(event("1") + second[:20])
    assert [found["auditID"] for found in log.refresh()] == ["1"]
    file.write_text(event("1") + second)
    assert [found["auditID"] for found in log.refresh()] == ["2"]
    assert [found["auditID"] for found in log.events] == ["1", "2"]


def test_the_last_request_that_fits_is_found(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_text(event("1") + event("2", name="q") + event("3", verb="get"))
    log = AuditLog(file)
    assert log.find("2")["auditID"] == "2"
    assert log.find(verb="create", resource="pods")["auditID"] == "2"
    assert log.find(name="p")["auditID"] == "3"


def test_a_request_that_is_not_there_is_waited_for_and_then_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "WAIT_LIMIT", 0.05)
    with pytest.raises(LookupError, match="holds no request create secrets"):
        AuditLog(tmp_path / "audit.log").find(verb="create", resource="secrets")


def test_streams_that_begin_are_not_finished_requests_and_those_turned_away_are(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    turned_away = event("3", stage="ResponseStarted", responseStatus={"code": 401})
    file.write_text(event("1", stage="ResponseStarted") + event("2", stage="Panic") + turned_away)
    assert [found["auditID"] for found in AuditLog(file).refresh()] == ["2", "3"]


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("1.5s", 1500), ("310.5µs", 0.3105), ("12.25ms", 12.25), ("1m2s", 62000), ("800ns", 0.0008), ("0s", 0)],
)
def test_durations_are_read_as_go_prints_them(text: str, milliseconds: float) -> None:
    assert _go_duration(text) == pytest.approx(milliseconds)
