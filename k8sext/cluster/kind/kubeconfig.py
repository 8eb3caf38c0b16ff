"""kind's kubeconfig, with the names that the embedded cluster gives."""

from __future__ import annotations


def renamed(text: str, name: str) -> str:
    """A kubeconfig of one cluster, user and context (YAML), all of them called name."""
    import yaml

    content = yaml.safe_load(text)
    for section in ("clusters", "users", "contexts"):
        content[section][0]["name"] = name
    content["contexts"][0]["context"] = {"cluster": name, "user": name}
    content["current-context"] = name
    return yaml.safe_dump(content, sort_keys=False)
