"""The traffic subprocess: the only place where Locust is imported."""
