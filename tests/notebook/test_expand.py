"""What `!` replaces, and all that it leaves as it was typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8sext.notebook.expand import ExpansionError, expand

NOTEBOOK = {"port": 8001, "names": ["a", "b"], "x": "X", "pod": {"metadata": {"name": "web"}}, "kind": "Ready"}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("curl localhost:{port}/", "curl localhost:8001/"),
        ("kubectl delete {names[0]} {' '.join(names)}", "kubectl delete a a b"),
        ("kubectl get pod {pod['metadata']['name']}", "kubectl get pod web"),
        ("echo { x }{x}", "echo XX"),
        ("echo {port + 1} {x if port else port}", "echo 8002 X"),
        ("echo {[name for name in names]}", "echo ['a', 'b']"),
        ("-o jsonpath='{.items[?(@.type==\"{kind}\")].status}'", "-o jsonpath='{.items[?(@.type==\"Ready\")].status}'"),
    ],
)
def test_an_expression_of_the_notebooks_variables_is_replaced(command: str, expected: str) -> None:
    assert expand(command, NOTEBOOK) == expected


@pytest.mark.parametrize(
    "command",
    [
        "kubectl get pod web -o jsonpath='{.metadata.name}'",
        "kubectl get pods -o jsonpath='{range .items[*]}{.metadata.name}{\"\\n\"}{end}'",
        "kubectl get pods -o go-template='{{range .items}}{{.metadata.name}}{{end}}'",
        "kubectl get pods -o go-template='{{x}}'",
        "kubectl get pod web -o jsonpath={.status.podIP}",
        "touch {a,b}.txt {x,port}.txt file{1..3}",
        "awk '{print $1, $NF}'",
        "awk '{exit} END {print}'",
        "sed 's/a\\{3\\}/b/'",
        "echo ${HOME} $port ${port} ${x:-none}",
        "find . -exec echo {} +",
        'kubectl patch wr a -p \'{"spec":{"days":0}}\'',
        "echo {len(names)} {nobody} {'text'} {3}",
        "echo {unclosed",
        "echo }{",
        "{ echo a; echo b; }",
        "echo {x:>5} {x!r}",
    ],
)
def test_all_else_stays_as_it_was_typed(command: str) -> None:
    assert expand(command, NOTEBOOK) == command


def test_an_expression_without_a_value_is_an_error_that_names_it() -> None:
    with pytest.raises(ExpansionError, match=r"{names\[5\]} in this command: IndexError"):
        expand("echo {names[5]}", NOTEBOOK)


@given(st.text(alphabet="{}ab.x \"'$[]()\\n:", max_size=40))
def test_without_variables_every_command_stays(command: str) -> None:
    assert expand(command, {}) == command
