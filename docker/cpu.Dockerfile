# syntax=docker/dockerfile:1.7
# TTSR Studio for CPUs. In the checkout, after `pip wheel . --no-deps --wheel-dir dist`:
#   docker build -f docker/cpu.Dockerfile -t ttsr:cpu .
FROM python:3.11-slim-bookworm AS build
ARG EXTRAS=speech
COPY constraints.txt dist/*.whl /tmp/
RUN python -m venv /opt/ttsr
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/ttsr/bin/pip install --index-url https://download.pytorch.org/whl/cpu --constraint /tmp/constraints.txt torch
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/ttsr/bin/pip install --constraint /tmp/constraints.txt "$(ls /tmp/ttsr_studio-*.whl)[$EXTRAS]"

FROM python:3.11-slim-bookworm
RUN groupadd --gid 1000 ttsr && useradd --uid 1000 --gid ttsr --create-home ttsr \
 && install -d -o ttsr -g ttsr /stems /models
COPY --from=build /opt/ttsr /opt/ttsr
ENV PATH=/opt/ttsr/bin:$PATH TTSR_MODELS=/models MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1
USER ttsr
WORKDIR /stems
VOLUME ["/stems", "/models"]
EXPOSE 8470
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=20s --start-period=120s CMD ["ttsr", "watch", "/stems", "--health"]
ENTRYPOINT ["ttsr"]
CMD ["watch", "/stems", "--host", "0.0.0.0", "--behind-proxy", "--grace", "60"]
