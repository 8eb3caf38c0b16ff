"""The node: a container runtime (CRI), a network plugin (CNI), a storage driver (CSI) and the kubelet that drives them."""
