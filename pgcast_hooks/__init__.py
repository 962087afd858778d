"""pgcast: PostgreSQL high availability over anycast BGP, driven by Patroni."""

__version__ = "0.1.0"
