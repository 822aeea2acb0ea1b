# syntax=docker/dockerfile:1.7
# TTSR Studio for NVIDIA cards; the driver is the host's, by the NVIDIA Container Toolkit. In the checkout, after
# `pip wheel . --no-deps --wheel-dir dist`:
#   docker build -f docker/cuda.Dockerfile -t ttsr:cuda .
FROM python:3.11-slim-bookworm AS build
ARG EXTRAS=speech
# PyTorch's wheels bring CUDA's libraries; which there are: https://pytorch.org/get-started/locally
ARG CUDA=cu126
COPY constraints.txt dist/*.whl /tmp/
RUN python -m venv /opt/ttsr
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/ttsr/bin/pip install --constraint /tmp/constraints.txt \
      --index-url "https://download.pytorch.org/whl/$CUDA" torch
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/ttsr/bin/pip install --constraint /tmp/constraints.txt "$(ls /tmp/ttsr_studio-*.whl)[$EXTRAS]"

FROM python:3.11-slim-bookworm
RUN groupadd --gid 1000 ttsr && useradd --uid 1000 --gid ttsr --create-home ttsr \
 && install -d -o ttsr -g ttsr /stems /models
COPY --from=build /opt/ttsr /opt/ttsr
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENV PATH=/opt/ttsr/bin:$PATH TTSR_MODELS=/models MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1
USER ttsr
WORKDIR /stems
VOLUME ["/stems", "/models"]
EXPOSE 8470
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=20s --start-period=120s CMD ["ttsr", "watch", "/stems", "--health"]
ENTRYPOINT ["ttsr"]
CMD ["watch", "/stems", "--host", "0.0.0.0", "--behind-proxy", "--grace", "60"]
