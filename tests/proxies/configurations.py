"""Configurations of nginx and Caddy: those of docs/guides/deploy.md, and other usual ones."""

import os
from pathlib import Path
from typing import Final

from tests.docs.pages import SNIPPETS
from tests.proxies.programs import Configuration

NGINX_GUIDE: Final = SNIPPETS / "nginx" / "relay.conf"
CADDY_GUIDE: Final = SNIPPETS / "caddy" / "Caddyfile"


def _nginx(name: str, location: str) -> Configuration:
    site = f"""
        map $http_upgrade $upgrade_or_close {{ default upgrade; '' close; }}
        map $http_upgrade $upgrade_or_keep {{ default upgrade; '' ''; }}
        upstream relay {{ server <relay>; keepalive 16; }}
        server {{
            listen 127.0.0.1:<port>;
            location / {{ proxy_pass http://relay; {location} }}
        }}
    """
    return Configuration(f"nginx-{name}", "nginx", site)


def _nginx_websocket(name: str, connection: str, more: str = "") -> Configuration:
    """Forward upgrades, as nginx's guide to WebSocket has it."""
    return _nginx(
        name,
        "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;"
        f" proxy_set_header Connection {connection}; {more}",
    )


def _caddy(name: str, options: str) -> Configuration:
    site = f"http://127.0.0.1:<port> {{\n reverse_proxy <relay> {{\n {options} \n}}\n}}\n"
    return Configuration(f"caddy-{name}", "caddy", site)


def _read_guide(path: Path, **replacements: str) -> str:
    text = path.read_text()
    for old, new in replacements.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


NGINX: Final = Configuration(
    "nginx-guide",
    "nginx",
    _read_guide(
        NGINX_GUIDE,
        **{
            "127.0.0.1:8080": "<relay>",
            "listen 443 ssl": "listen 127.0.0.1:<port> ssl",
            "/etc/nginx/relay.crt": "<certificate>",
            "/etc/nginx/relay.key": "<key>",
        },
    ),
)
CADDY: Final = Configuration(
    "caddy-guide",
    "caddy",
    _read_guide(
        CADDY_GUIDE,
        **{
            "127.0.0.1:8080": "<relay>",
            # Caddy would ask a certificate authority for one.
            "relay.example.com {": "https://127.0.0.1:<port> {\n\ttls <certificate> <key>",
        },
    ),
)

GUIDES: Final = (NGINX, CADDY)
CADDY_DEFAULTS: Final = _caddy("defaults", "")
# Forwards an offer to upgrade, and a body before all of it has come.
NGINX_OPEN: Final = _nginx_websocket(
    "websocket-unbuffered", "$upgrade_or_keep", "proxy_request_buffering off;"
)
_OTHERS: Final = (
    _nginx("defaults", ""),
    _nginx("keepalive", 'proxy_http_version 1.1; proxy_set_header Connection "";'),
    _nginx(
        "unbuffered",
        'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;',
    ),
    _nginx_websocket("websocket-close", "$upgrade_or_close"),
    _nginx_websocket("websocket-keepalive", "$upgrade_or_keep"),
    _caddy("streaming", "flush_interval -1"),
    _caddy("buffered", "buffer_requests"),
)
CONFIGURATIONS: Final = (
    NGINX_OPEN,
    CADDY_DEFAULTS,
    *GUIDES,
    *(_OTHERS if "EVERY_PROXY" in os.environ else ()),
)
"""All of them with `make proxies`; otherwise the guide's, and the one of each program that forwards
most of what it receives.
"""
