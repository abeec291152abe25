"""The fixtures `mesh` and `stub`: a sample target that is up, as a test sees it."""

from collections.abc import Mapping
from dataclasses import dataclass

from squall.pytest_plugin.places import Place
from targets.base import Target


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample target. `traffic(..., to=mesh)` goes to its entry, and faults may name its edges and nodes."""

    target: Target

    @property
    def host(self) -> str:
        """Return the address of its entry."""
        return self.target.entry.host

    @property
    def port(self) -> int:
        """Return the port of its entry."""
        return self.target.entry.port

    @property
    def url(self) -> str:
        """Return its entry as `http://127.0.0.1:8000`."""
        return f"http://{self.target.entry}"

    @property
    def variant(self) -> str:
        """Return the protections that are switched on."""
        return self.target.variant

    @property
    def addresses(self) -> Mapping[str, Place]:
        """Return where each node listens itself; reaching it there goes past all faults."""
        return {name: Place(one.host, one.port) for name, one in self.target.addresses().items()}

    def __str__(self) -> str:
        return str(self.target.entry)
