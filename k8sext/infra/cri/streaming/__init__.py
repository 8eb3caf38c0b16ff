"""Exec, attach and port-forward as streams: a CRI call returns a URL with a token, and whoever opens it gets them."""
