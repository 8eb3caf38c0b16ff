"""Wrong answers to the exercises of notebook 03, each with words of the reason that the learner gets."""

_LABEL = """
from k8sext.kube.request import ApiError

def add_label(reports, name, key, value):
    {body}
"""

WRONG = {
    "03.1": [
        ("made = {'metadata': {'name': 'countdown'}}", "not a Job of the generated package"),
        (
            "from kubernetes.client import V1Job\nmade = V1Job(metadata={'name': 'countdown'})",
            "`made` is V1Job of the module kubernetes",
        ),
    ],
    "03.2": [
        ("def merge_patch(old, new): return new", "returns {'city': 'Oslo', 'days': 3} and should return {'days': 3}"),
        (
            "def merge_patch(old, new): return {key: new[key] for key in new if old.get(key) != new[key]}",
            "and should return {'days': None}",
        ),
    ],
    "03.3": [
        (
            _LABEL.format(body="report = reports.get(name); report.labels[key] = value; reports.update(report)"),
            "and add_label raises ApiError: the object has been modified",
        ),
        (
            _LABEL.format(
                body="""while True:
        try:
            report = reports.get(name)
            report.labels[key] = value
            return reports.update(report)
        except ApiError as error:
            if error.code == 404: return None"""
            ),
            "only a conflict is a reason to go on",
        ),
        (
            _LABEL.format(
                body="""report = reports.get(name)
    report.labels[key] = value
    while True:
        try:
            return reports.update(report)
        except ApiError as error:
            report.version = reports.get(name).version"""
            ),
            "the other's change of `days` is lost",
        ),
    ],
}
