"""Wrong answers to the exercises of notebook 07, each with words of the reason that the learner gets."""

_ROLE = """%%sh
kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
kubectl get serviceaccount reader -n exercises > /dev/null 2>&1 || kubectl create serviceaccount reader -n exercises
kubectl delete role,rolebinding --all -n exercises
"""

WRONG = {
    "07.1": [
        (_ROLE, "it needs a role and a binding"),
        (
            _ROLE
            + """
kubectl create role reader -n exercises --verb=get --resource=configmaps
kubectl create rolebinding reader -n exercises --role=reader --serviceaccount=exercises:reader
""",
            "may also get configmap/other",
        ),
        (
            _ROLE
            + """
kubectl create role reader -n exercises --verb=get,update --resource=configmaps --resource-name=greeting
kubectl create rolebinding reader -n exercises --role=reader --serviceaccount=exercises:reader
""",
            "may also update configmap/greeting",
        ),
    ],
    "07.2": [
        (
            """
from k8sext.admission import Allowed, Denied

def reading_days(request):
    if request.verb in ("get", "list", "watch") or "archivists" in request.groups:
        return Allowed()
    raise Denied("only archivists change the archive")
""",
            "for a stranger's list in the archive it should answer `no opinion`, and answers `Allowed`",
        ),
        (
            """
from k8sext.admission import Denied

def reading_days(request):
    if request.verb in ("get", "list", "watch") or "archivists" in request.groups:
        return None
    raise Denied("only archivists change the archive")
""",
            "for a create in another namespace",
        ),
    ],
    "07.3": [
        (
            """
from k8sext.admission import Denied

def pinned(request):
    if "@sha256:" not in request.images[0] and not request.images[0].startswith("localhost/"):
        raise Denied(f"{request.images[0]} is not pinned")
""",
            "nothing pins nginx:1.27",
        ),
        (
            """
from k8sext.admission import Denied

def pinned(request):
    if any("@sha256:" not in image for image in request.images):
        raise Denied("an image is not pinned")
""",
            "does not name the image",
        ),
    ],
}
