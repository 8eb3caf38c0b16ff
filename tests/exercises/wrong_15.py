"""Wrong answers to the exercises of notebook 15, each with words of the reason that the learner gets."""

WRONG = {
    "15.1": [
        (
            'def writers(thing): return sorted({note["manager"] for note in thing["metadata"]["managedFields"]})',
            "and should return ['kubectl-create', 'kubectl-label', 'kubelet/status']",
        ),
        (
            'def writers(thing): return sorted({"/".join(filter(None, (note["manager"], note.get("subresource")))) '
            'for note in thing["metadata"]["managedFields"]})',
            "raised KeyError: 'managedFields'",
        ),
    ],
    "15.2": [
        ('extensions = {"one word lists all reports without a pod": "alias"}', "'alias' is none of controller"),
        (
            'extensions = {"one word lists all reports without a pod": "plugin", '
            '"no report covers more than ten days": "webhook"}',
            "it is a limit of one field, and belongs to the kind itself",
        ),
    ],
}
