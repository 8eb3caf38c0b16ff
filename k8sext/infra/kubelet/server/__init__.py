"""What the API server asks a kubelet for: logs, exec, attach, metrics."""
