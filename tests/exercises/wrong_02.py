"""Wrong answers to the exercises of notebook 02, each with words of the reason that the learner gets."""


def _plugin(name: str, text: str, mode: str = "0o755") -> str:
    return f"""
import os, tempfile
from pathlib import Path

folder = tempfile.TemporaryDirectory()
os.environ["PATH"] += os.pathsep + folder.name
plugin = Path(folder.name, "{name}")
plugin.write_text({text!r})
plugin.chmod({mode})
"""


_LONELY = """#!/usr/bin/env python3
import json, subprocess, sys
answer = subprocess.run(["kubectl", "get", "pods", {words}"-o", "json"], stdout=subprocess.PIPE)
{manners}
for pod in json.loads(answer.stdout)["items"]:
    if {rule}:
        print(pod["metadata"]["name"])
"""
_EXIT = "sys.exit(answer.returncode) if answer.returncode else None"
_NO_OWNER = '"ownerReferences" not in pod["metadata"]'
_NO_CONTROLLER = 'not any(owner.get("controller") for owner in pod["metadata"].get("ownerReferences", []))'

WRONG = {
    "02.1": [
        (_plugin("kubectl-weather-today", '#!/bin/sh\necho "sunny in $1"\n'), "what stands for a dash?"),
        (_plugin("kubectl-weather_today", '#!/bin/sh\necho "sunny in $1"\n', "0o644"), "`chmod +x` it"),
        (
            _plugin("kubectl-weather_today", "#!/bin/sh\necho sunny in Oslo\n"),
            "prints 'sunny in Oslo', not 'sunny in Lima'",
        ),
    ],
    "02.2": [
        (
            _plugin("kubectl-lonely", _LONELY.format(words="", manners=_EXIT, rule=_NO_CONTROLLER)),
            "there is a pod `alone` that nobody owns",
        ),
        (
            _plugin("kubectl-lonely", _LONELY.format(words="*sys.argv[1:], ", manners=_EXIT, rule=_NO_OWNER)),
            "the pod `bystander` has an owner that is not its controller",
        ),
        (
            _plugin("kubectl-lonely", _LONELY.format(words="*sys.argv[1:], ", manners="", rule=_NO_CONTROLLER)),
            "adds a traceback",
        ),
    ],
}
