"""The container runtime, asked over CRI: sandboxes, containers, images."""
