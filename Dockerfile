# The command in a container; the examples in pipelines/ use it:
#   docker build -t letta-source:0.2.0 .
#   docker run --rm -e LETTA_API_KEY -v letta:/data letta-source:0.2.0 run
FROM python:3.13.7-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/letta-source
COPY requirements.lock ./
RUN /opt/letta-source/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY letta_source ./letta_source
RUN /opt/letta-source/bin/pip install --no-deps --no-build-isolation .

FROM python:3.13.7-slim-bookworm
COPY --from=build /opt/letta-source /opt/letta-source
RUN useradd --uid 1000 --create-home letta && install -d -o letta -g letta /data
# What a load keeps between runs: the DuckDB file, and dlt's folder.
ENV PATH=/opt/letta-source/bin:$PATH DLT_DATA_DIR=/data/dlt PYTHONDONTWRITEBYTECODE=1
# Where `status` looks, such as "--destination postgres".
ENV STATUS_OPTIONS=""
USER 1000:1000
WORKDIR /data
VOLUME /data
# Healthy once there is a load that `status` can read; Kubernetes has probes of its own.
HEALTHCHECK --interval=5m --timeout=1m --start-period=2h CMD letta-source status $STATUS_OPTIONS
ENTRYPOINT ["letta-source"]
CMD ["run"]
