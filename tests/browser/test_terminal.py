"""A terminal opened in the lab: the workbook's programs work in it, on the lab's own cluster. No browser is needed to
type."""

from __future__ import annotations

import json
import re
import urllib.request

import pytest
from websocket import create_connection

from tests.browser.reader import Lab

pytestmark = [pytest.mark.browser, pytest.mark.cluster]


def test_the_workbooks_programs_work_in_a_terminal_of_the_lab(lab: Lab) -> None:
    headers = {"Authorization": f"token {lab.token}"}
    made = urllib.request.Request(f"{lab.root}/api/terminals", method="POST", headers=headers)
    with urllib.request.urlopen(made) as answer:
        name = json.load(answer)["name"]
    address = f"{lab.root.replace('http', 'ws', 1)}/terminals/websocket/{name}?token={lab.token}"
    line = create_connection(address, timeout=90)
    try:
        typed = "k8sext version; kubectl get --raw /readyz; k8sext status --name browser; echo the''end\r"
        line.send(json.dumps(["stdin", typed]))
        shown = ""
        while "theend" not in shown:
            kind, *words = json.loads(line.recv())
            shown += words[0] if kind == "stdout" else ""
    finally:
        line.close()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert re.search(r"k8sext \d+\.\d+\.\d+", shown), shown
    assert "\nok" in shown.replace("\r", "\n"), shown
    assert "command not found" not in shown, shown
    assert "kube-apiserver" in shown, shown
