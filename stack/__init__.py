"""Running Relevo: the commands of the launcher, the embedded stack, the deployment around it."""
