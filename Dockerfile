# The gateway's image: the bento, the packages that it needs, and nothing that builds them.
#
#   docker build -t lupine .                                the gateway; LUPINE_TRITON__URL names a Triton
#   docker build -t lupine:managed --build-arg TRITON=managed .     with the managed tritonserver inside
#
# Only /tmp is written to, and /dev/shm by the managed Triton, which runs its backend out of /tmp:
# `docker run --read-only --tmpfs /tmp`, and `--tmpfs /tmp:exec` for it. docs/runbook.md has the rest.
ARG TRITON=remote

# The managed Triton needs glibc 2.35 and a shared libpython: this has 2.36, and nothing more is
# needed from the distribution.
FROM python:3.11.14-slim-bookworm AS base
ENV LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PATH=/opt/lupine/venv/bin:$PATH

# ---------------------------------------------------------------- the packages, and the bento

FROM base AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /opt/lupine/build

# Without pip in it: nothing is installed into a running container. Nobody runs its packages' tests.
COPY requirements.txt ./
RUN python -m venv --without-pip /opt/lupine/venv && \
    /usr/local/bin/python -m pip --python /opt/lupine/venv install --no-deps \
      --requirement requirements.txt && \
    find /opt/lupine/venv -type d -name tests -prune -exec rm -r {} +

# A clone holds no model of magika's: it comes out of magika's own wheel, as with `make setup`.
COPY constraints.txt ./
COPY service service
COPY models models
COPY triton_repo triton_repo
RUN /usr/local/bin/python -m pip install --no-deps --target wheel --constraint constraints.txt magika && \
    PYTHONPATH=wheel python -m models package magika

# What the image serves is what the bento holds.
COPY bentofile.yaml lupine.toml LICENSE ./
RUN BENTOML_HOME=/opt/lupine/store BENTOML_DO_NOT_TRACK=True bentoml build --version image --output tag && \
    mv /opt/lupine/store/bentos/lupine/image/src /opt/lupine/bento

# The command `lupine`. The bento's modules are compiled here: where they run, nothing can be written.
WORKDIR /opt/lupine/bento
COPY pyproject.toml README.md ./
RUN /usr/local/bin/python -m pip --python /opt/lupine/venv install --no-deps --editable . && \
    python -m compileall -q --invalidation-mode unchecked-hash service

# ---------------------------------------------------------------- the managed Triton

FROM builder AS triton
RUN python -m service.runner.build --into /opt/lupine/triton --constraints constraints.txt && \
    /usr/local/bin/python -m pip --python /opt/lupine/triton uninstall --yes pip setuptools && \
    find /opt/lupine/triton -type d -name tests -prune -exec rm -r {} +

# ---------------------------------------------------------------- what is shipped

FROM base AS final-remote
COPY --from=builder /opt/lupine/venv /opt/lupine/venv
COPY --from=builder /opt/lupine/bento /opt/lupine/bento
WORKDIR /opt/lupine/bento

# Inside a container loopback would be reached by nobody. Who may reach it from outside is for
# `docker run --publish` or the network policy to say; loading and unloading needs LUPINE_ADMIN_KEY.
ENV LUPINE_SERVER__HOST=0.0.0.0 \
    LUPINE_SERVER__PORT=3000 \
    LUPINE_SERVER__GRPC_PORT=3001 \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
# BENTOML_CONTAINERIZED stays unset: with it a worker that dies is not replaced.
EXPOSE 3000 3001
USER 10001:10001
STOPSIGNAL SIGTERM

# Live, not ready: what acts on this restarts the container, and a gateway that drains, or whose
# Triton is coming back, is not mended by that.
HEALTHCHECK --interval=10s --timeout=5s --start-period=150s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['LUPINE_SERVER__PORT'] + '/v2/health/live', timeout=4)"]

# It checks, then becomes BentoML's supervisor: signals reach it. Flags follow: `docker run lupine --workers 2`.
# Not --port and --host: the health check asks LUPINE_SERVER__PORT on loopback. Set those by environment only.
ENTRYPOINT ["lupine", "serve"]

FROM final-remote AS final-managed
COPY --from=triton /opt/lupine/triton /opt/lupine/triton
# Named, not `auto`: an image that should bring a Triton must not quietly serve without it.
ENV LUPINE_TRITON__RUNTIME=/opt/lupine/triton \
    LUPINE_ENGINE__KIND=triton

# Both stages that this can name are above.
# hadolint ignore=DL3006
FROM final-${TRITON} AS final
