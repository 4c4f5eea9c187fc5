# The consumer alone; docker-compose.yml, swarm/ and charts/ run it beside a log shipper. `make image` builds it.
#
# What it is built on; a digest pins it for good: --build-arg PYTHON=3.13.15-slim-trixie@sha256:...
ARG PYTHON=3.13.15-slim-trixie

FROM python:${PYTHON} AS build
WORKDIR /src
COPY constraints constraints
# For the compiled part of nats_fluent, below; it stays in this stage.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
# Every package is the one whose hash is on file. Wheels first, for the few that come as source only (nkeys) are built
# with the setuptools of that file as well. These are installed by name: by file, the list below would not know them.
RUN pip install --no-cache-dir --require-hashes --only-binary=:all: -r constraints/build.txt \
 && pip wheel --no-cache-dir --require-hashes --only-binary=:all: --no-binary=nkeys --no-deps --no-build-isolation \
        --wheel-dir /wheels -r constraints/run.txt \
 && python -m venv --without-pip /opt/nats-fluent \
 && sed -n 's/^\([a-z][^ ]*==[^ ]*\) .*/\1/p' constraints/run.txt > /wheels/names.txt \
 && pip --python /opt/nats-fluent/bin/python install --no-cache-dir --no-index --no-deps --find-links /wheels \
        -r /wheels/names.txt
COPY pyproject.toml setup.cfg setup.py README.md LICENSE ./
COPY nats_fluent nats_fluent
# What nats_fluent/conf is a link to.
COPY conf conf
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /own . \
 && pip --python /opt/nats-fluent/bin/python install --no-index --no-deps /own/*.whl \
 && pip --python /opt/nats-fluent/bin/python check \
 && mkdir /spool
# What is in there, as CycloneDX JSON, told by a tool that is not.
RUN python -m venv --without-pip /opt/sbom \
 && pip --python /opt/sbom/bin/python install --no-cache-dir --require-hashes --only-binary=:all: -r constraints/sbom.txt \
 && /opt/sbom/bin/cyclonedx-py environment --output-reproducible --short-PURLs --output-format JSON \
        --output-file /nats-fluent.cdx.json /opt/nats-fluent/bin/python

FROM python:${PYTHON}
# For a volume with the spool: a new one gets this directory's owner.
COPY --from=build --chown=65532:65532 /spool /var/lib/nats-fluent
# pip compiled every module in there: a read-only container could not, and would at every start.
COPY --from=build /opt/nats-fluent /opt/nats-fluent
COPY --from=build /nats-fluent.cdx.json /usr/share/doc/nats-fluent/
ENV PATH=/opt/nats-fluent/bin:$PATH
# A number, so that Kubernetes can tell that it is not root (runAsNonRoot).
USER 65532:65532
# Needs neither a shell nor, without a spool, a file to write.
ENTRYPOINT ["nats-fluent"]
CMD ["run"]
# For the health check, and for nobody outside of the container; 0.0.0.0:9464 lets others in, off takes it away.
ENV NATS_FLUENT_HTTP_LISTEN=127.0.0.1:9464
# Whether it moves, and not whether NATS or the log shipper are there: Swarm ends what is unhealthy, and with it what it
# holds for them. It costs 0.03 s of CPU. Kubernetes does not read this.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["python", "-m", "nats_fluent.healthcheck"]

# Last, for what changes with every build should not cost the layers above their place in the cache.
ARG VERSION=dev
ARG REVISION=
# For `--version`.
ENV NATS_FLUENT_REVISION=${REVISION}
LABEL org.opencontainers.image.title="nats-fluent" \
      org.opencontainers.image.description="Ships publications from NATS to Fluent Bit or Fluentd, acknowledged" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
