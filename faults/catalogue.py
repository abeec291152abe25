"""The faults that exist: the files of this folder."""

import importlib
import inspect
import pkgutil

import faults
from faults.base import Fault


def load() -> dict[str, type[Fault]]:
    """Return every fault class by its `kind`, the scenario's key, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(faults.__path__, "faults."))
    found = [fault for name in names for fault in _faults_in(name)]
    return {fault.kind: fault for fault in sorted(found, key=lambda fault: fault.kind)}


def _faults_in(module_name: str) -> list[type[Fault]]:
    """Return the concrete faults that a module defines itself: those that name their kind."""
    module = importlib.import_module(module_name)
    classes = [item for _, item in inspect.getmembers(module, inspect.isclass) if item.__module__ == module_name]
    return [item for item in classes if issubclass(item, Fault) and "kind" in vars(item)]
