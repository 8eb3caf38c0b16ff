"""Wrong answers to the exercises of notebook 14, each with words of the reason that the learner gets."""

_CALLS = [
    "CreateVolume",
    "NodeStageVolume",
    "NodePublishVolume",
    "NodeUnstageVolume",
    "NodeUnpublishVolume",
    "DeleteVolume",
]

WRONG = {
    "14.1": [
        (f"calls = {_CALLS}", "call 4 cannot be NodeUnstageVolume yet"),
        (f"calls = {_CALLS[:3]}", "should be a list of the six calls"),
        (f"calls = {[_CALLS[0], _CALLS[2], _CALLS[1], *_CALLS[3:]]}", "the machine must have it before a pod can"),
    ],
    "14.2": [
        (
            """
import uuid
def create_volume(volumes, name, size):
    id = str(uuid.uuid4())
    volumes[id] = size
    return id
""",
            "asked again for the same, it returns the id",
        ),
        (
            """
def create_volume(volumes, name, size):
    volumes[name] = size
    return name
""",
            "its caller would believe to have 32",
        ),
        (
            """
def create_volume(volumes, name, size):
    if name in volumes:
        raise FileExistsError(name)
    volumes[name] = size
    return name
""",
            "raised FileExistsError",
        ),
    ],
}
