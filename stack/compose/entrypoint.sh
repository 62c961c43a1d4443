#!/bin/sh
# Puts into the environment what a program takes from nowhere else and the description of a
# container must not show (`docker inspect`).
set -eu
RELEVO_COMMIT=$(cat /opt/relevo/.commit)
export RELEVO_COMMIT
if [ -r /run/secrets/environment ]; then
    set -a
    . /run/secrets/environment
    set +a
fi
exec "$@"
