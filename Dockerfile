# syntax=docker/dockerfile:1

# Two stages: the first installs, the second has neither installer nor build tools.
# Runs on amd64 and arm64: every dependency has wheels for both.
FROM python:3.13-slim AS install
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/relay
RUN pip install --no-cache-dir --disable-pip-version-check uv==0.13.9
WORKDIR /src
# Dependencies first: they change less often than the code.
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-dev --extra otel --no-install-project
COPY README.md LICENSE ./
COPY app app
COPY supabase/migrations supabase/migrations
RUN uv sync --locked --no-dev --extra otel --no-editable

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin relay \
    && install --directory --owner=relay --group=relay --mode=0700 /data \
    && pip uninstall --yes --quiet pip
COPY --from=install /opt/relay /opt/relay
ENV PATH=/opt/relay/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 PORT=8080 LOG_FORMAT=json STORE_URL=sqlite:////data/relay.db
USER relay
WORKDIR /data
# All that the relay writes is here: the root file system may be read-only.
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/ready', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["relay"]
CMD ["serve"]
