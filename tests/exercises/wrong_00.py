"""Wrong answers to the exercises of notebook 00, each with words of the reason that the learner gets."""

_NAMESPACE = """%%sh
kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
kubectl wait --for=create serviceaccount/default -n exercises --timeout=30s > /dev/null
"""
_RUN = (
    _NAMESPACE
    + """
kubectl delete pod countdown -n exercises --ignore-not-found --now
kubectl run countdown -n exercises --image={image} {flags} --command -- sh -c '{command}'
"""
)
_IMAGE = "localhost/k8sext:0.1.0"

WRONG = {
    "00.1": [
        (
            _NAMESPACE + "kubectl delete configmap greeting -n exercises --ignore-not-found",
            "there is no configmap `greeting`",
        ),
        (
            _NAMESPACE
            + "kubectl delete configmap greeting -n exercises --ignore-not-found\n"
            + "kubectl create configmap greeting -n default --from-literal=text='good morning'",
            "but one in `default`: the command wants `-n exercises`",
        ),
        (
            _NAMESPACE
            + "kubectl delete configmap greeting -n default\n"
            + "kubectl delete configmap greeting -n exercises --ignore-not-found\n"
            + "kubectl create configmap greeting -n exercises --from-literal=text=hello",
            "its text is 'hello', not 'good morning'",
        ),
    ],
    "00.2": [
        (_RUN.format(image=_IMAGE, flags="", command="echo 3; echo 2; echo 1"), "say `--restart=Never`"),
        (_RUN.format(image="nginx", flags="--restart=Never", command="echo 3"), "use `localhost/k8sext`"),
        (_RUN.format(image=_IMAGE, flags="--restart=Never", command="echo 3 2 1"), "its log has the lines ['3 2 1']"),
        (_RUN.format(image=_IMAGE, flags="--restart=Never", command="echo 3; exit 4"), "the pod `countdown` failed"),
    ],
    "00.3": [
        ("def missing(wanted, found): return set(wanted) - set(found)", "and should return ['a', 'c']"),
        (
            "def missing(wanted, found): return [name for name in found if name not in wanted]",
            "returns [] and should return",
        ),
    ],
}
