"""The lab: real PostgreSQL, Patroni, ExaBGP, etcd and BIRD on hosts made of namespaces.

It exists because what pgcast promises is promised at a router, during events that only real
programs produce. Nothing in it knows how pgcast works.
"""
