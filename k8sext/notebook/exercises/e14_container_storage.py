"""Exercises of notebook 14: the order of the calls, and a call that may come twice."""

from __future__ import annotations

from k8sext.notebook.exercises.exercise import NotYet, exercise
from k8sext.notebook.exercises.learner import Learner, expect

ORDER = (
    ("CreateVolume", "the volume must exist before anybody can bring it anywhere"),
    ("NodeStageVolume", "the machine must have it before a pod can"),
    ("NodePublishVolume", "the pod gets what is staged"),
    ("NodeUnpublishVolume", "the pod lets go first"),
    ("NodeUnstageVolume", "then the machine, when no pod has it any more"),
    ("DeleteVolume", "at last it may go"),
)


@exercise(
    "14.1",
    "The life of a volume",
    hints=(
        "What was done last is undone first.",
        "Staging happens for each machine, publishing for each pod: the machine comes before the pod.",
    ),
    solution="""
    calls = [
        "CreateVolume",
        "NodeStageVolume",
        "NodePublishVolume",
        "NodeUnpublishVolume",
        "NodeUnstageVolume",
        "DeleteVolume",
    ]
    """,
)
def order(learner: Learner) -> str:
    """One pod uses a volume and goes away, and the volume goes, too. Bring the six calls into their order."""
    calls = learner.named("calls")
    known = [name for name, _ in ORDER]
    six = f"`calls` should be a list of the six calls, each once, and it is {calls!r}"
    expect(isinstance(calls, list) and sorted(map(str, calls)) == sorted(known), six)
    for place, (found, (name, reason)) in enumerate(zip(calls, ORDER, strict=True), 1):
        if found != name:
            raise NotYet(f"call {place} cannot be {found} yet: something else comes before it (think: {reason})")
    return "up in steps and down in the same steps, the last one first"


@exercise(
    "14.2",
    "Again, please",
    hints=(
        "Three cases: the name is new, the name is there with the same size, the name is there with another size.",
        "The id must be the same when the same is asked again, also after a restart, when nothing but `volumes` is "
        "left.",
        'Make the id from the name, as `f"vol-{name}"`, and keep the size under it. Raise FileExistsError in the '
        "third case.",
    ),
    solution="""
    def create_volume(volumes, name, size):
        id = f"vol-{name}"
        if volumes.setdefault(id, size) != size:
            raise FileExistsError(f"a volume {name} of {volumes[id]} bytes exists already")
        return id
    """,
)
def create(learner: Learner) -> str:
    """Write `create_volume(volumes, name, size)`. It returns the id of the new volume, and writes its size into the
    dictionary `volumes`, under the id. Asked again for the same name and size it returns the same id and changes
    nothing. For the same name with another size it raises FileExistsError, and the volume stays as it was."""
    volumes: dict[str, int] = {}
    first = learner.call("create_volume", volumes, "notes", 16)
    expect(first is not None, "create_volume returns None: return the volume's id")
    expect(
        volumes == {first: 16}, f"after the first call `volumes` is {volumes}, and should hold the size 16 under the id"
    )
    again = learner.call("create_volume", dict(volumes), "notes", 16)
    expect(again == first, f"asked again for the same, it returns the id {again!r}, and before it was {first!r}")
    expect(learner.call("create_volume", volumes, "notes", 16) == first, "asked a third time, it returns another id")
    expect(volumes == {first: 16}, f"the same call came twice, and now `volumes` is {volumes}")
    try:
        learner.named("create_volume")(volumes, "notes", 32)
    except FileExistsError as error:
        expect(str(error), "its FileExistsError has no words: say which volume, and how it differs")
    except Exception as error:
        raise NotYet(f"for another size it raises {type(error).__name__}, and not FileExistsError") from error
    else:
        raise NotYet(
            "the name is there with the size 16, and a call for 32 succeeds: its caller would believe to have 32"
        )
    expect(volumes == {first: 16}, f"the refused call has changed `volumes` to {volumes}")
    other = learner.call("create_volume", volumes, "diary", 32)
    expect(other != first, "two volumes of different names got the same id")
    return "whoever lost your answer may ask again, and nothing is doubled"
