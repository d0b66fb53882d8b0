"""HTTP on loopback."""

import ssl
from typing import Final

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For httpx's `verify`: without it, every client loads the CAs, which takes 15 ms."""
