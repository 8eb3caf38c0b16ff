"""What pods use of the node, who is told, and what is done about a pod that uses too much of its disk."""
