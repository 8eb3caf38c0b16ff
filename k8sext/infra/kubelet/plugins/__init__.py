"""Plugins of the kubelet: found by their sockets, told to the scheduler."""
