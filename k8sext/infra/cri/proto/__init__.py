"""CRI v1 as Python modules, generated from `api.proto` by `python -m tools.protocols`."""
