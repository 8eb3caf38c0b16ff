"""`python -m k8sext` is the command `k8sext`."""

from k8sext.cli import main

main()
