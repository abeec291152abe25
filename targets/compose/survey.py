"""From a target file's path to its adoption: reads the project, and asks the engine, if there is one, about images."""

from contextlib import closing
from pathlib import Path

from targets.base import TargetError
from targets.compose.adoption import Adoption, adopt
from targets.compose.endpoint import local_socket
from targets.compose.project import Port, Project, read
from targets.compose.targetfile import Said, TargetFileError, load


def survey(path: Path) -> Adoption:
    """Return what the project of a target file is as a target; starts nothing.

    Raises
    ------
    TargetFileError
        With everything that is wrong with the file, or every reason why the project cannot be adopted.
    TargetError
        When Compose cannot read the project.
    """
    adoption = look(load(path))
    if adoption.refusals:
        raise TargetFileError(adoption.refusals)
    return adoption


def look(said: Said) -> Adoption:
    """Return what a project is as a target, its refusals among it."""
    project = read(said.files)
    return adopt(said, project, exposed(project))


def exposed(project: Project) -> dict[str, tuple[Port, ...]]:
    """Return service -> the ports that its image names; without an engine, and for images not built yet, none."""
    socket = local_socket()
    if socket is None:
        return {}
    # Imported late: a plan can be made where no engine and no client library is.
    from targets.compose.engine import Engine  # noqa: PLC0415 - as said above

    found: dict[str, tuple[Port, ...]] = {}
    try:
        with closing(Engine(socket)) as engine:
            for name, service in project.services.items():
                image = service.image or f"{project.name}-{name}"
                found[name] = tuple(sorted(Port(number, kind) for number, kind in engine.exposed(image)))
    except TargetError:
        return {}  # the sockets that are seen once it is up tell the same
    return found
