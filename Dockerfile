# The consumer alone; docker-compose.yml runs it beside NATS and a log shipper.
ARG PYTHON=3.13.15-slim-trixie

FROM python:${PYTHON} AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/nats-fluent
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY nats_fluent nats_fluent
RUN pip --python /opt/nats-fluent/bin/python install --no-cache-dir .

FROM python:${PYTHON}
COPY --from=build /opt/nats-fluent /opt/nats-fluent
ENV PATH=/opt/nats-fluent/bin:$PATH
# A number, so that Kubernetes can tell that it is not root (runAsNonRoot).
USER 65532:65532
ENTRYPOINT ["nats-fluent"]
CMD ["run"]
