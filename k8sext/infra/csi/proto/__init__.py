"""CSI v1 and the registration of kubelet plugins as Python modules, generated from the `.proto` files by `python -m
tools.protocols`."""
