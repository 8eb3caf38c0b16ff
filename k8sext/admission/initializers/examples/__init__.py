"""Three initializers: a container beside yours, a certificate for each pod, a limit that counts what is there."""
