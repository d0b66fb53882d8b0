"""STORE_URL: which database holds the store."""

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from app.domain.errors import ConfigurationInvalid


def read_store_url(store_url: str) -> URL:
    """Check a STORE_URL and name the driver.

    Raises:
        ConfigurationInvalid: it names neither a SQLite file nor a PostgreSQL database.
    """
    try:
        # Heroku and others provide postgres://, which SQLAlchemy does not accept.
        url = make_url(store_url.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        # Without the cause: if the password contains a slash, its beginning is quoted as the port.
        raise ConfigurationInvalid(
            "STORE_URL cannot be read as a URL; for a file: sqlite:///relay.db; in a password,"
            " write / as %2F, @ as %40, : as %3A"
        ) from None
    match url.get_backend_name():
        case "sqlite":
            if url.database in (None, "", ":memory:"):
                raise ConfigurationInvalid(
                    "STORE_URL names no file; acknowledged events must survive: sqlite:///relay.db"
                )
            if "uri" in url.query:
                raise ConfigurationInvalid(
                    "STORE_URL gives SQLite a URI (uri=…); give the path of a file:"
                    " sqlite:///relay.db"
                )
            return url.set(drivername="sqlite+pysqlite")
        case "postgresql":
            if not url.database:
                raise ConfigurationInvalid(
                    "STORE_URL names no database: postgresql://user:password@host/database"
                )
            return url.set(drivername="postgresql+psycopg")
        case name:
            raise ConfigurationInvalid(
                f"STORE_URL names {name}; the store is a SQLite file (sqlite:///relay.db) or a"
                " PostgreSQL database (postgresql://user:password@host/database)"
            )


def describe_store(url: URL) -> str:
    """Return where a store is, without credentials."""
    if not is_shared(url):
        return f"sqlite:///{url.database}"
    place = URL.create("postgresql", host=url.host, port=url.port, database=url.database)
    return place.render_as_string()


def is_shared(url: URL) -> bool:
    """Tell whether several relays can use the store at once."""
    return url.get_backend_name() == "postgresql"
