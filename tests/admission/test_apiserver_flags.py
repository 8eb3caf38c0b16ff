"""Webhooks that an API server names in its flags, on one of our own; and the traces of the requests made there."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from k8sext.admission import AdmissionRequest, Serving, authenticator, mutating, serve
from k8sext.admission.apiserver_flags import api_server_options
from k8sext.admission.audit import AuditLog
from k8sext.admission.examples.images import known_images
from k8sext.admission.examples.night import closed_at_night
from k8sext.admission.examples.reports import known_cities, report_labels
from k8sext.admission.examples.students import student_token, students_of
from k8sext.admission.trace import STAGES, Trace, trace_of
from k8sext.cluster import ClusterError, PrivateApiServer, private_api_server
from k8sext.kube.objects import Json
from k8sext.resources import weather_report_crd
from tests.admission.reviews import report

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("programs")]
SECRET = b"a secret of the tests"
CLASS = "class-a"


@mutating("weatherreports.k8s.packt.com", object_labels={"nap": "yes"}, timeout=5)
async def nap(_report: Json, _request: AdmissionRequest) -> None:
    """Takes longer than the half second from which on the API server notes where the time went."""
    await asyncio.sleep(0.6)


class School:
    """An API server that asks about tokens, access and images, and a clock that the tests set."""

    def __init__(self, stack: ExitStack) -> None:
        self.hour = 12
        night = closed_at_night("library", lambda: datetime.datetime(2026, 1, 1, self.hour))
        self.flagged = stack.enter_context(serve(students_of(CLASS, SECRET), night, known_images))
        options = api_server_options(self.flagged, image_cache=60)
        self.api: PrivateApiServer = stack.enter_context(private_api_server(*options))
        self.registered = stack.enter_context(serve(known_cities, report_labels, nap, kubeconfig=self.api.kubeconfig))
        self.log = AuditLog(self.api.folder / "audit.log")
        self._furnish()

    def _furnish(self) -> None:
        self.api.kubectl("apply", "-f", "-", input=json.dumps(weather_report_crd()))
        self.api.kubectl("wait", "--for=condition=Established", "crd/weatherreports.k8s.packt.com")
        self.api.kubectl("create", "namespace", "library")
        self.api.kubectl("create", "serviceaccount", "default", "-n", "library")
        resources = "--resource=pods,weatherreports.k8s.packt.com"
        self.api.kubectl("create", "role", "reader", "-n", "library", "--verb=get,list,create,delete", resources)
        self.api.kubectl("create", "rolebinding", "r", "-n", "library", "--role=reader", f"--group={CLASS}:students")

    def student(self, name: str, token: str = "") -> Path:
        """A kubeconfig with a student's token and nothing else."""
        config = yaml.safe_load(self.api.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token or student_token(SECRET, CLASS, name)}
        file = self.api.folder / f"{name}.student"
        file.write_text(yaml.safe_dump(config))
        return file

    def create(self, name: str, city: str = "Paris", days: int = 1, user: Path | None = None, **metadata: Json) -> str:
        wanted = report(city, days, **metadata)
        wanted["metadata"] |= {"name": name, "namespace": "library"}
        return self.api.kubectl("create", "-f", "-", input=json.dumps(wanted), kubeconfig=user)

    def run(self, name: str, image: str, user: Path | None = None) -> str:
        return self.api.kubectl("run", name, "-n", "library", f"--image={image}", kubeconfig=user)

    def trace(self, **which: str) -> Trace:
        return trace_of(self.log.find(**which), [*self.flagged.calls, *self.registered.calls])


@pytest.fixture(scope="module")
def school(programs: dict[str, Path]) -> Iterator[School]:
    with ExitStack() as stack:
        yield School(stack)


def test_a_token_is_a_user_and_a_group_to_the_api_server(school: School) -> None:
    who = school.api.kubectl(
        "auth", "whoami", "-o", "jsonpath={.status.userInfo.username} {.status.userInfo.groups}",
        kubeconfig=school.student("anna"),
    )  # fmt: skip
    assert who == 'class-a:anna ["class-a:students","system:authenticated"]'


def test_a_request_that_passes_lights_up_every_stage(school: School) -> None:
    school.create("passes", user=school.student("bob"))
    trace = school.trace(verb="create", resource="weatherreports", name="passes")
    assert (trace.code, trace.stopped_at) == (201, "")
    assert [stage.state for stage in trace.stages] == ["passed"] * 7
    evidence = {stage.name: stage.evidence for stage in trace.stages}
    assert evidence["authentication"] == "class-a:bob, says the webhook students"
    assert evidence["authorisation"].startswith('night: no opinion; RBAC: RoleBinding "r/library"')
    assert evidence["mutating"] == "report-labels: changed (add /metadata/labels)"
    assert evidence["validating"] == "known-cities: allowed"
    assert evidence["etcd"].startswith("stored as resource version ")
    timed = [stage.name for stage in trace.stages if stage.milliseconds]
    assert timed == ["authentication", "authorisation", "mutating", "validating"]
    assert all(stage.at_most is not None for stage in trace.stages if stage.name in ("schema", "etcd"))
    assert all(stage.milliseconds < trace.milliseconds for stage in trace.stages if stage.milliseconds)


def _stopped(school: School, stage: str, trace: Trace) -> None:
    assert trace.stopped_at == stage
    after = trace.stages[STAGES.index(stage) + 1 :]
    assert all(later.state == "not reached" and not later.calls for later in after)


def test_a_wrong_token_stops_at_authentication(school: School) -> None:
    with pytest.raises(ClusterError, match="You must be logged in"):
        school.api.kubectl("get", "wr", "-n", "library", kubeconfig=school.student("eve", "class-a.eve.wrong"))
    trace = school.trace(resource="weatherreports", verb="list")
    assert trace.code == 401
    _stopped(school, "authentication", trace)
    assert [call.outcome for call in trace.stages[0].calls] == ["unknown"]


def test_at_night_it_stops_at_authorisation_though_rbac_would_allow(school: School) -> None:
    school.hour = 23
    try:
        with pytest.raises(ClusterError, match="library is closed from 22:00 to 7:00, and it is past 23:00"):
            school.create("night", user=school.student("cara"))
        _stopped(school, "authorisation", school.trace(verb="create", resource="weatherreports"))
        school.api.kubectl("get", "wr", "-n", "library", kubeconfig=school.student("cara"))
        school.create("admin-at-night")
    finally:
        school.hour = 12
    school.create("day", user=school.student("cara"))


def test_what_rbac_does_not_allow_stops_at_authorisation(school: School) -> None:
    with pytest.raises(ClusterError, match="cannot list resource"):
        school.api.kubectl("get", "secrets", "-n", "library", kubeconfig=school.student("dora"))
    trace = school.trace(verb="list", resource="secrets")
    _stopped(school, "authorisation", trace)
    assert [call.outcome for call in trace.stages[1].calls] == ["no opinion"]


def test_a_wrong_value_stops_at_the_schema_after_mutation(school: School) -> None:
    with pytest.raises(ClusterError, match="should be less than or equal to 14"):
        school.create("too-long", days=15)
    trace = school.trace(verb="create", resource="weatherreports", name="too-long")
    _stopped(school, "schema", trace)
    (mutating,) = (stage for stage in trace.stages if stage.name == "mutating")
    assert [call.webhook for call in mutating.calls] == ["report-labels"]


def test_an_unknown_field_stops_at_decoding_before_any_webhook(school: School) -> None:
    unknown = {"apiVersion": "k8s.packt.com/v1", "kind": "WeatherReport", "metadata": {"name": "typo"}}
    unknown["spec"] = {"city": "Paris", "dayz": 2}
    with pytest.raises(ClusterError, match=r'unknown field "spec\.dayz"'):
        school.api.kubectl("create", "-n", "library", "-f", "-", input=json.dumps(unknown))
    _stopped(school, "decoding", school.trace(verb="create", resource="weatherreports"))


def test_an_unknown_city_stops_at_validating_admission(school: School) -> None:
    with pytest.raises(ClusterError, match="no station stands in Atlantis"):
        school.create("nowhere", "Atlantis")
    trace = school.trace(verb="create", resource="weatherreports", name="nowhere")
    _stopped(school, "validating", trace)
    assert trace.stages[0].evidence == "kubernetes-admin, by a client certificate"
    assert trace.stages[1].evidence == "system:masters may do everything"


def test_what_exists_already_stops_at_etcd(school: School) -> None:
    school.create("twice")
    with pytest.raises(ClusterError, match="already exists"):
        school.create("twice")
    _stopped(school, "etcd", school.trace(verb="create", resource="weatherreports", name="twice"))


def test_a_read_is_never_admitted(school: School) -> None:
    school.api.kubectl("get", "wr", "-n", "library")
    trace = school.trace(verb="list", resource="weatherreports")
    states = {stage.name: stage.state for stage in trace.stages}
    assert states["mutating"] == states["validating"] == states["schema"] == "not needed"
    (mutating,) = (stage for stage in trace.stages if stage.name == "mutating")
    assert mutating.evidence == "reads are never admitted"


def test_from_half_a_second_on_the_api_server_itself_says_where_the_time_went(school: School) -> None:
    school.create("sleepy", labels={"nap": "yes"})
    trace = school.trace(verb="create", resource="weatherreports", name="sleepy")
    stages = {stage.name: stage.milliseconds for stage in trace.stages}
    assert trace.milliseconds > 600 and (stages["mutating"] or 0) >= 600
    assert all(stages[name] is not None for name in ("authentication", "authorisation", "validating"))


def test_images_from_elsewhere_do_not_run(school: School) -> None:
    school.run("good", "localhost/k8sext:0.1.0")
    with pytest.raises(ClusterError, match=r"denied one or more images: nginx:1.27 comes from docker.io"):
        school.run("bad", "nginx:1.27")
    _stopped(school, "validating", school.trace(verb="create", resource="pods", name="bad"))


def test_the_api_server_keeps_the_answers_about_images(school: School) -> None:
    def asked() -> int:
        return sum(call.subject == "localhost/cached:1" for call in school.flagged.calls)

    for number in range(3):
        school.run(f"cached-{number}", "localhost/cached:1")
    assert asked() == 1


def test_without_the_webhooks_students_are_out_images_are_refused_and_the_administrator_is_in(school: School) -> None:
    late = school.student("late")
    school.flagged.go_down()
    try:
        with pytest.raises(ClusterError, match="You must be logged in"):
            school.api.kubectl("get", "wr", "-n", "library", kubeconfig=late)
        guest = school.api.kubeconfig_for("guest", [f"{CLASS}:students"])
        with pytest.raises(ClusterError, match=r"Forbidden|forbidden|InternalError"):
            school.api.kubectl("get", "wr", "-n", "library", kubeconfig=guest)
        with pytest.raises(ClusterError, match="connection refused"):
            school.run("unchecked", "localhost/never-seen:1")
        school.api.kubectl("get", "wr", "-n", "library")
    finally:
        school.flagged.come_back()
    school.api.kubectl("get", "wr", "-n", "library", kubeconfig=guest)


def test_an_api_server_names_one_webhook_of_a_kind() -> None:
    @authenticator
    def one(_token: str) -> None:
        return None

    @authenticator
    def two(_token: str) -> None:
        return None

    serving = Serving([one, two], None, "127.0.0.1", 0)
    try:
        with pytest.raises(ValueError, match="name one authenticator, here are one, two"):
            api_server_options(serving)
    finally:
        serving.stop()


def test_an_authorizer_that_does_not_answer_stops_it_at_authorisation(school: School) -> None:
    student = ["--as=class-a:anna", f"--as-group={CLASS}:students"]
    school.flagged.go_down()
    try:
        with pytest.raises(ClusterError, match="InternalError"):
            school.api.kubectl("get", "wr", "-n", "library", *student)
        trace = school.trace(verb="list", resource="weatherreports")
    finally:
        school.flagged.come_back()
    assert trace.code == 500
    _stopped(school, "authorisation", trace)
    assert trace.stages[0].evidence == "kubernetes-admin, by a client certificate, who acts as class-a:anna"
    assert trace.stages[1].evidence == "internal error"
