"""Envoy, the data plane of the sample mesh: its configuration, its logs and its admin interface."""
