"""The examples as plain functions, without any server."""

from __future__ import annotations

import datetime

import pytest

from k8sext.admission import AccessRequest, AdmissionRequest, BadReview, Denied, ImageRequest
from k8sext.admission.examples.defaults import pod_defaults
from k8sext.admission.examples.images import known_images, registry_of, tag_of
from k8sext.admission.examples.night import closed_at_night
from k8sext.admission.examples.reports import CITIES, known_cities, report_labels
from k8sext.admission.examples.students import student_token, students_of
from k8sext.kube.objects import Json
from k8sext.resources import WeatherReport
from tests.admission.reviews import admission, report


def request() -> AdmissionRequest:
    return AdmissionRequest.of(admission(object=report()))


@pytest.mark.parametrize(
    ("image", "registry", "tag"),
    [
        ("nginx", "docker.io", "latest"),
        ("nginx:1.27", "docker.io", "1.27"),
        ("library/nginx", "docker.io", "latest"),
        ("localhost/k8sext:0.1.0", "localhost", "0.1.0"),
        ("localhost:5000/app", "localhost:5000", "latest"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io", "3.10"),
        ("registry.k8s.io/a/b:latest", "registry.k8s.io", "latest"),
        ("registry.k8s.io/pause@sha256:00", "registry.k8s.io", ""),
    ],
)
def test_an_image_name_is_read_as_a_container_runtime_reads_it(image: str, registry: str, tag: str) -> None:
    assert (registry_of(image), tag_of(image)) == (registry, tag)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["localhost/a:1", "nginx:1.27"], "nginx:1.27 comes from docker.io"),
        (["localhost/a"], "localhost/a means :latest"),
        (["registry.k8s.io.evil.example/a:1"], "comes from registry.k8s.io.evil.example"),
    ],
)
def test_images_from_elsewhere_and_latest_are_refused_by_name(images: list[str], message: str) -> None:
    with pytest.raises(Denied, match=message):
        known_images(ImageRequest(images, "lesson", {}))


def test_images_from_known_registries_with_a_version_may_run() -> None:
    known_images(ImageRequest(["localhost/a:1", "registry.k8s.io/b@sha256:00"], "lesson", {}))


def test_a_report_for_an_unknown_city_is_refused() -> None:
    with pytest.raises(Denied, match="no station stands in Atlantis; choose one of Amsterdam"):
        known_cities(report("Atlantis"), request())


def test_a_long_report_passes_with_a_warning() -> None:
    asked = request()
    known_cities(report("Paris", 9), asked)
    assert asked.warnings == ["9 days: the older half of it is seldom read"]
    known_cities(report("Paris", 7), quiet := request())
    assert not quiet.warnings


def test_every_known_city_is_one_that_the_type_allows() -> None:
    for city in CITIES:
        WeatherReport.model_validate(report(city))


def test_a_report_is_labelled_with_its_city() -> None:
    changed = report("Rome", labels={"a": "b"})
    report_labels(changed, request())
    assert changed["metadata"]["labels"] == {"a": "b", "city": "Rome"}


def test_pod_defaults_fill_in_what_is_missing_and_nothing_else() -> None:
    pod: Json = {
        "metadata": {"labels": {"team": "ours"}},
        "spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "2"}}}, {"name": "b"}]},
    }
    pod_defaults(pod, request())
    wanted = [container["resources"]["requests"] for container in pod["spec"]["containers"]]
    assert wanted == [{"cpu": "2", "memory": "64Mi"}, {"cpu": "100m", "memory": "64Mi"}]
    assert pod["metadata"]["labels"]["team"] == "ours"
    again = repr(pod)
    pod_defaults(pod, request())
    assert repr(pod) == again


def test_a_students_token_says_who_it_is_and_cannot_be_made_without_the_secret() -> None:
    authenticate = students_of("class-a", b"secret")
    token = student_token(b"secret", "class-a", "anna.lee")
    user = authenticate(token)
    assert user and (user.name, user.groups) == ("class-a:anna.lee", ["class-a:students"])
    strangers = (
        student_token(b"guess", "class-a", "anna"),
        student_token(b"secret", "class-b", "anna"),
        token.replace("anna", "eve"),
        token[:-1],
        "class-a..",
        "class-a",
        "",
        "é.é.é",
    )
    assert not any(authenticate(stranger) for stranger in strangers)


@pytest.mark.parametrize(("hour", "is_open"), [(6, False), (7, True), (21, True), (22, False), (0, False)])
def test_a_namespace_is_closed_at_night_for_changes(hour: int, is_open: bool) -> None:
    night = closed_at_night("library", lambda: datetime.datetime(2026, 1, 1, hour))
    ask = AccessRequest("anna", [], {}, "create", "library", resource="pods")
    if is_open:
        assert night(ask) is None
    else:
        with pytest.raises(Denied, match="library is closed"):
            night(ask)
    for other in (
        AccessRequest("anna", [], {}, "list", "library", resource="pods"),
        AccessRequest("anna", [], {}, "create", "elsewhere", resource="pods"),
        AccessRequest("anna", [], {}, "get", path="/version"),
    ):
        assert night(other) is None


def test_a_review_is_needed_to_make_a_request() -> None:
    with pytest.raises(BadReview):
        AdmissionRequest.of({})
