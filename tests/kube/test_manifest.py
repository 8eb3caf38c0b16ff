"""YAML that is written here, read by kubectl."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from k8sext.cluster import Cluster
from k8sext.kube.manifest import to_yaml

WORDS = [
    *("y", "Y", "n", "N", "yes", "No", "on", "OFF", "true", "False", "null", "Null", "~", ""),
    *("1", "1.5", "1e3", "12e03", "0x1f", "0o7", "010", "0b1", "1_000", "1:30", "+1", "-.5", ".inf", "-.Inf", ".nan"),
    *("nan", "inf", "2026-11-26", "2026-11-26T00:00:00Z", "=", "<<", "!tag", "&a", "*a", "- a", "a: b", "a #b", "@a"),
    *("1e", "v1", "10.0.0.1", "100m", "é", "a\nb", "a\tb", "trailing ", "\u0085", "\u2028", "%a", "`a`"),
]


@pytest.mark.cluster
def test_kubectl_reads_every_word_as_the_text_it_is(cluster: Cluster):
    data = {f"k{place}": word for place, word in enumerate(WORDS)}
    written = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "words"}, "data": data}
    read = cluster.kubectl("create", "--dry-run=client", "--output=json", "-f", "-", input=to_yaml(written))
    assert json.loads(read)["data"] == data


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=9))
def test_what_is_written_is_read_back(value: object):
    assert yaml.safe_load(to_yaml({"value": value})) == {"value": value}


def test_documents_stand_one_after_the_other_in_their_own_order():
    assert to_yaml({"b": 1, "a": "y"}, {"c": None}) == "b: 1\na: 'y'\n---\nc: null\n"
