"""Tests on the lab: what the router and a client see when real programs fail."""
