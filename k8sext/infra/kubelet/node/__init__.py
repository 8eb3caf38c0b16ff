"""The node itself: its Node object, its lease, and nodes that are nothing more."""
