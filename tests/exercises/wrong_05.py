"""Wrong answers to the exercises of notebook 05, each with words of the reason that the learner gets."""

_CHILD = """%%sh
kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
kubectl delete configmap parent child -n exercises --ignore-not-found
kubectl create configmap parent -n exercises
"""

_CREATES = """
def reconcile(api, namespace):
    for cm in api.list_namespaced_config_map(namespace, label_selector="copy=yes").items:
        body = {{"metadata": {{"name": cm.metadata.name + "-copy", "labels": {labels}}}, "data": cm.data}}
        {then}
"""

WRONG = {
    "05.1": [
        (_CHILD + "kubectl create configmap child -n exercises", "no `metadata.ownerReferences`"),
        (_CHILD, "there is no configmap `child` in the namespace `exercises`"),
    ],
    "05.2": [
        (
            'def key_of_report(pod): return "weather/" + pod["metadata"]["ownerReferences"][0]["name"]',
            "raised KeyError: 'ownerReferences'",
        ),
        (
            """
def key_of_report(pod):
    for owner in pod["metadata"].get("ownerReferences", []):
        if owner["kind"] == "WeatherReport":
            return pod["metadata"]["namespace"] + "/" + owner["name"]
""",
            "returns 'weather/oslo' and should return None",
        ),
    ],
    "05.3": [
        (
            _CREATES.format(labels={}, then="api.create_namespaced_config_map(namespace, body)"),
            "without `copied=yes`",
        ),
        (
            _CREATES.format(labels={"copied": "yes"}, then="api.create_namespaced_config_map(namespace, body)"),
            "reconcile raised ConflictException: Conflict",
        ),
        (
            _CREATES.format(
                labels={"copied": "yes", "n": "0"},
                then="""
        body["metadata"]["annotations"] = {"at": str(__import__("time").time())}
        try:
            api.create_namespaced_config_map(namespace, body)
        except Exception:
            api.replace_namespaced_config_map(body["metadata"]["name"], namespace, body)""",
            ),
            "compare before you write",
        ),
    ],
}
