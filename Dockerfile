# The relay's image, for amd64 and arm64: every dependency has wheels for both. Any base with a Python
# >= 3.11 and its venv will do. Releases name this one by its digest (.github/workflows/release.yml).
ARG PYTHON=docker.io/library/python:3.13-slim

# Installs the relay.
FROM ${PYTHON} AS install
# Byte code that is never compared with its source: it stays valid when a builder sets other times.
ENV UV_COMPILE_BYTECODE=1 PYC_INVALIDATION_MODE=UNCHECKED_HASH UV_LINK_MODE=copy UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 UV_PROJECT_ENVIRONMENT=/opt/relay
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
WORKDIR /src
# Dependencies first: they change less often than the code.
COPY pyproject.toml uv.lock ./
RUN /opt/uv/bin/uv sync --locked --no-dev --extra otel --no-install-project
COPY LICENSE supabase_sync_relay.py ./
COPY app app
COPY supabase/migrations supabase/migrations
RUN /opt/uv/bin/uv sync --locked --no-dev --extra otel --no-editable \
    && find /opt/relay -type d -name tests -prune -exec rm -r {} +

# The base without what can install software, with the standard library compiled: it would otherwise
# be compiled at every start, because the root file system may be read-only.
FROM ${PYTHON} AS system
RUN set -eu; library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))'); \
    rm -rf "$library"/ensurepip "$library"/idlelib "$library"/test "$library"/tkinter \
        "$library"/turtledemo "$library"/site-packages/pip* /usr/local/bin/pip* /usr/local/bin/idle* \
        /usr/share/python-wheels /var/cache/apt /var/lib/apt/lists; \
    python3 -m compileall -q --invalidation-mode unchecked-hash "$library"; \
    groupadd --gid 10001 relay; \
    useradd --uid 10001 --gid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin relay; \
    # Group 0 may write, for platforms that choose the uid (OpenShift).
    install --directory --owner=10001 --group=0 --mode=0770 /data
COPY --from=install /opt/relay /opt/relay

# One layer: what was deleted takes no space.
FROM scratch
ARG VERSION=
ARG REVISION=
ARG SOURCE=https://github.com/YOUR-ORG/supabase-sync-relay
ARG PYTHON
LABEL org.opencontainers.image.title="supabase-sync-relay" \
    org.opencontainers.image.description="Relays signed change events from a backend to Supabase." \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.source="${SOURCE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="${PYTHON}"
COPY --from=system / /
ENV PATH=/opt/relay/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 PORT=8080 LOG_FORMAT=json STORE_URL=sqlite:////data/relay.db
# Numbers: Kubernetes' runAsNonRoot accepts no name.
USER 10001:10001
WORKDIR /data
# All that the relay writes is here: the root file system may be read-only.
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["relay", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["relay"]
CMD ["serve"]
