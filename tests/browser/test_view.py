"""The live view in JupyterLab: it moves, it can be used with the keyboard alone, and nothing in it is run."""

from __future__ import annotations

import json
from collections.abc import Iterator

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from k8sext.cluster import Cluster, connect
from tests.browser.reader import Lab, end_kernels, open_notebook, run_all

pytestmark = [pytest.mark.browser, pytest.mark.cluster]

NAME, NAMESPACE = "view.ipynb", "browser-view"
APPEARS = 60_000


def waiting_pod(name: str, annotations: dict[str, str] | None = None) -> str:
    """The manifest of a pod that no node takes."""
    containers = [{"name": "main", "image": "localhost/none"}]
    spec = {"nodeSelector": {"disk": "of-glass"}, "containers": containers, "automountServiceAccountToken": False}
    metadata = {"name": name, "namespace": NAMESPACE, "annotations": annotations or {}}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


@pytest.fixture
def cluster(lab: Lab) -> Iterator[Cluster]:
    """The cluster of the lab, with a namespace for this test."""
    found = connect("browser")
    found.kubectl("create", "namespace", NAMESPACE)
    found.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={NAMESPACE}", "--timeout=60s")
    yield found
    found.kubectl("delete", "namespace", NAMESPACE)


@pytest.fixture
def view(lab: Lab, cluster: Cluster, page: Page) -> Iterator[Locator]:
    """A notebook with nothing but a view of that namespace."""
    sources = ["%load_ext k8sext", f'view("{NAMESPACE}")']
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), lab.folder / NAME)
    panel = open_notebook(lab, page, NAME)
    run_all(page, panel, len(cells))
    yield panel
    end_kernels(lab, page)
    (lab.folder / NAME).unlink()


def test_a_pod_that_kubectl_makes_appears_and_can_be_asked_about_with_the_keyboard_alone(
    cluster: Cluster, view: Locator, page: Page
) -> None:
    picture = view.locator("svg[role=img]").first
    expect(picture).to_contain_text("k8sext-worker2", timeout=APPEARS)
    cluster.kubectl(
        "create", "-f", "-", input=waiting_pod("first", {"note": "<img src=x onerror='document.title=1'><script>"})
    )
    expect(picture).to_contain_text("first", timeout=APPEARS)

    press_from(page, view.get_by_label("look at"), "Home")
    expect(view).to_contain_text("Waiting: 0/3 nodes are available", timeout=APPEARS)
    yaml = view.get_by_role("region", name="YAML")
    expect(yaml).to_contain_text("disk: of-glass")
    expect(yaml).to_contain_text("<script>")
    assert view.locator("script, img[src=x]").count() == 0
    for wide in (1600, 1024):
        page.set_viewport_size({"width": wide, "height": 900})
        output = view.locator(".jp-OutputArea-output").last
        expect(output).to_be_visible()
        assert output.evaluate("one => one.scrollWidth - one.clientWidth") == 0, f"a scrollbar at {wide}"
        assert yaml.evaluate("one => one.clientWidth") > 350, f"a strip at {wide}"

    pause = view.get_by_role("button", name="Pause")
    press_from(page, pause, "Enter")
    expect(view.get_by_role("status")).to_have_text("paused", timeout=APPEARS)
    cluster.kubectl("create", "-f", "-", input=waiting_pod("second"))
    press_from(page, view.get_by_role("button", name="In words"), "Enter")
    expect(view).to_contain_text("waiting: first: 0/3 nodes are available", timeout=APPEARS)
    expect(view).not_to_contain_text("waiting: second")
    press_from(page, pause, "Enter")
    expect(view).to_contain_text("waiting: second: 0/3 nodes are available", timeout=APPEARS)


def press_from(page: Page, field: Locator, key: str) -> None:
    """Give a field the focus and press a key."""
    field.focus()
    page.keyboard.press(key)
