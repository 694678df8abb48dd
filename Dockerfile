# What the Makefile does, in a container. Targets: cpu (default) and cuda.
#   docker build --target cpu -t spectramind:cpu --build-arg TORCH_INDEX=<PyTorch's index of CPU wheels> .
#   docker build --target cuda -t spectramind:cuda .
# Without TORCH_INDEX both take PyPI's torch, which has CUDA in it, is some GB larger, and runs without a GPU too.
FROM python:3.12-slim-bookworm AS base
# gcc: batman-package, which the tests compare with, compiles, and so does triton on a GPU. git: the tests make repositories.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends --yes gcc git libc6-dev make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 spectramind \
    && install --directory --owner spectramind /spectramind
USER 1000
WORKDIR /spectramind
ENV PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1 NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib
COPY --chown=spectramind . .
EXPOSE 8000
CMD ["make", "help"]

FROM base AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN make setup

FROM base AS cpu
ARG TORCH_INDEX=""
RUN PIP_EXTRA_INDEX_URL="$TORCH_INDEX" make setup
