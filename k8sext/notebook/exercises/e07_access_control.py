"""Exercises of notebook 07: least privilege, an authorizer and an image policy."""

from __future__ import annotations

from typing import Any

from k8sext.notebook.exercises.exercise import NotYet, exercise
from k8sext.notebook.exercises.learner import NAMESPACE, Learner, expect

READER = f"system:serviceaccount:{NAMESPACE}:reader"


@exercise(
    "07.1",
    "As little as possible",
    hints=(
        "Four objects: the service account, the ConfigMap's reader as a Role, a RoleBinding that brings both together, "
        "and the "
        "namespace. The ConfigMap need not exist.",
        "`kubectl create role` takes `--verb`, `--resource` and `--resource-name`.",
    ),
    solution="""
    %%sh
    kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
    kubectl delete role,rolebinding --all -n exercises
    kubectl get serviceaccount reader -n exercises > /dev/null 2>&1 || kubectl create serviceaccount reader -n exercises
    kubectl create role reader -n exercises --verb=get --resource=configmaps --resource-name=greeting
    kubectl create rolebinding reader -n exercises --role=reader --serviceaccount=exercises:reader
    """,
)
def least_privilege(learner: Learner) -> str:
    """In a namespace `exercises`, let the service account `reader` get the ConfigMap `greeting`, and nothing else: no
    other ConfigMap, no list, no change."""
    learner.get("serviceaccount", "reader")
    expect(
        _may(learner, "get", "configmap/greeting"),
        "`reader` may not get the ConfigMap `greeting`: it needs a role and a binding",
    )
    for verb, what in (
        ("get", "configmap/other"),
        ("list", "configmaps"),
        ("update", "configmap/greeting"),
        ("delete", "configmap/greeting"),
        ("get", "secret/greeting"),
    ):
        expect(not _may(learner, verb, what), f"`reader` may also {verb} {what}, which is more than asked for")
    return "the account reads one object of the whole cluster, and RBAC says no to the rest"


def _may(learner: Learner, verb: str, what: str) -> bool:
    return learner.kubectl("auth", "can-i", verb, what, "-n", NAMESPACE, f"--as={READER}").output.strip() == "yes"


def _decision(learner: Learner, name: str, request: Any) -> str:
    """What an authorizer or a policy says: its refusal's words, or its answer."""
    from k8sext.admission import Denied

    function = learner.named(name)
    try:
        answer = function(request)
    except Denied as denied:
        return f"Denied: {denied}"
    except Exception as error:
        raise NotYet(f"{name} raised {type(error).__name__}: {error}") from error
    return "no opinion" if answer is None else f"{type(answer).__name__}"


@exercise(
    "07.2",
    "Reading days",
    hints=(
        "Begin with what is none of its business: `if request.namespace != ...: return None`. The order of the "
        "questions matters.",
        "To deny, raise: `raise Denied(...)`. To have no opinion, return None. Never return `Allowed`: that would "
        "open all doors.",
        "`request.groups` is a list of names, `request.verb` one word such as `get` or `create`.",
    ),
    solution="""
    from k8sext.admission import Denied, authorizer

    @authorizer
    def reading_days(request):
        if request.namespace != "archive" or request.verb in ("get", "list", "watch"):
            return None
        if "archivists" in request.groups:
            return None
        raise Denied("only archivists change the archive")
    """,
)
def authorizer(learner: Learner) -> str:
    """Write an authorizer `reading_days`: in the namespace `archive`, who is not in the group `archivists` may get,
    list and watch at most, and for anything else is denied with the words "only archivists change the archive". It
    gives nobody a right that RBAC does not give."""
    from k8sext.admission import AccessRequest

    def asked(verb: str, namespace: str, *groups: str) -> str:
        request = AccessRequest("anna", list(groups), {}, verb=verb, namespace=namespace, resource="configmaps")
        return _decision(learner, "reading_days", request)

    for verb, namespace, groups, answer, reason in (
        ("create", "archive", (), "Denied: only archivists change the archive", "a stranger's create in the archive"),
        (
            "delete",
            "archive",
            ("students",),
            "Denied: only archivists change the archive",
            "a student's delete in the archive",
        ),
        ("list", "archive", (), "no opinion", "a stranger's list in the archive"),
        ("create", "archive", ("archivists",), "no opinion", "an archivist's create in the archive"),
        ("create", "library", (), "no opinion", "a create in another namespace"),
    ):
        found = asked(verb, namespace, *groups)
        expect(found == answer, f"for {reason} it should answer `{answer}`, and answers `{found}`")
    return "your authorizer takes rights away and gives none: rights still come from RBAC alone"


@exercise(
    "07.3",
    "Images that cannot change",
    hints=(
        "An image by digest has the form `registry/name@sha256:...`, with 64 digits and letters a-f behind the colon.",
        "Look at every image of `request.images`, not at the first only: a pod has several containers.",
        "`re.fullmatch(r'.+@sha256:[0-9a-f]{64}', image)` is true for a whole digest and false for a piece of one.",
    ),
    solution="""
    import re
    from k8sext.admission import Denied, image_policy

    @image_policy
    def pinned(request):
        for image in request.images:
            if not image.startswith("localhost/") and not re.fullmatch(r".+@sha256:[0-9a-f]{64}", image):
                raise Denied(f"{image} is not pinned by a digest")
    """,
)
def images(learner: Learner) -> str:
    """A tag can be moved to another image tomorrow, a digest cannot. Write an image policy `pinned`: every image must
    be named with its digest (`@sha256:` and 64 hexadecimal digits), unless it comes from `localhost/`. The refusal
    names the image."""
    from k8sext.admission import ImageRequest

    digest = "registry.k8s.io/pause@sha256:" + "0123456789abcdef" * 4
    for images, bad in (
        (["registry.k8s.io/pause:3.10"], "registry.k8s.io/pause:3.10"),
        ([digest], ""),
        (["localhost/k8sext:0.1.0"], ""),
        ([digest, "nginx:1.27"], "nginx:1.27"),
        (["registry.k8s.io/pause@sha256:0123"], "registry.k8s.io/pause@sha256:0123"),
        (["example.com/localhost/web:1"], "example.com/localhost/web:1"),
    ):
        found = _decision(learner, "pinned", ImageRequest(images, NAMESPACE, {}))
        if bad:
            expect(found.startswith("Denied"), f"a pod with the images {images} gets through: nothing pins {bad}")
            expect(bad in found, f"the refusal, `{found}`, does not name the image {bad}")
        else:
            expect(
                found == "no opinion", f"a pod with the images {images} should get through, and is answered `{found}`"
            )
    return "what was tested is what runs, whoever moves a tag"
