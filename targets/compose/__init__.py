"""Docker: the sample mesh as containers, and any Compose project."""
