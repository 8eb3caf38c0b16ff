"""Objects written as YAML that every reader of Kubernetes reads alike.

YAML 1.1 and its readers do not agree on what a plain word is. PyYAML writes the strings `y` and `1e3` without quotes,
since it reads them as strings itself; kubectl's reader (sigs.k8s.io/yaml) takes the one for true and the other for
1000. So a string that any of them could take for something else is quoted.
"""

from __future__ import annotations

from typing import Any

import yaml

BOOLEANS = ("y", "Y", "n", "N")
"""Words that YAML 1.1 reads as booleans and PyYAML does not; it quotes the others (yes, no, on, off)."""


class _Dumper(yaml.SafeDumper):
    """PyYAML's, with more quotes, and with a part that stands twice written twice instead of as an alias."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "'" if value in BOOLEANS or _is_number(value) else None
    return yaml.ScalarNode("tag:yaml.org,2002:str", value, style=style)


def _is_number(value: str) -> bool:
    plain = value.replace("_", "")
    for read in (float, _integer):
        try:
            read(plain)
            return True
        except ValueError:
            pass
    return False


def _integer(text: str) -> int:
    return int(text, 0)


_Dumper.add_representer(str, _text)


def to_yaml(*documents: Any, width: int = 80, allow_unicode: bool = False) -> str:
    """Return the documents as YAML, their fields in the order they have."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=width, allow_unicode=allow_unicode)
