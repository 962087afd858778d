"""Tests of pgcast: unit, integration, and e2e on the lab."""
