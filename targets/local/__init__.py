"""Targets as processes of this machine: ports, stores, services and their supervision."""
