"""A target file: which Compose project is the target, where traffic enters it, and what traffic may ask.

Only `target` and `traffic` are needed; the rest says what squall would otherwise guess.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from targets.base import Operation, Protocols, TargetError
from targets.compose.composing import Files
from targets.units import Duration

AS_IS: Final = "as-is"  # the variant without overrides
ENDINGS: Final = (".yaml", ".yml")
_PATIENCE: Final = 1.0  # seconds, deadline of an operation that states none
_READY_WITHIN: Final = 120.0  # seconds


class Part(BaseModel):
    """Base of all parts of a target file."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


Name = Annotated[str, Field(min_length=1)]
PortNumber = Annotated[int, Field(ge=1, le=65535)]
Names = Annotated[tuple[Name, ...], Field(strict=False)]  # YAML has lists


class ComposeProject(Part):
    """The project: `{compose: path/to/docker-compose.yml, project: shop, profiles: [], env_file: .env}`."""

    compose: Name | Annotated[tuple[Name, ...], Field(strict=False, min_length=1)] = Field(
        description="its file, or files that build on each other, relative to the target file"
    )
    project: str | None = Field(
        None, pattern=r"^[a-z0-9][a-z0-9_-]*$", description="its name; default: as Compose names it"
    )
    profiles: Names = ()
    env_file: Name | None = Field(None, description="relative to the target file; default: .env beside the project")


class Entrance(Part):
    """Where traffic enters: `{to: web, port: 8080}`, the port being the one inside the container."""

    to: Name
    port: PortNumber


class Asked(Part):
    """One operation: an HTTP request template."""

    method: Annotated[str, Field(pattern=r"^[A-Z]+$")] = "GET"
    path: Annotated[str, Field(pattern=r"^/")] = "/"
    deadline: Annotated[Duration, Field(gt=0)] = _PATIENCE
    body: str = ""
    body_bytes: int = Field(0, ge=0)
    headers: Mapping[str, str] = {}
    params: Mapping[str, Annotated[int, Field(ge=1)]] = {}
    depends: Names = ()
    about: str = ""


class Override(Part):
    """One variant: environment values that some services get instead of their own."""

    env: Mapping[str, Mapping[str, str]] = {}
    about: str = ""


class TargetFile(Part):
    """A whole target file."""

    target: ComposeProject
    traffic: Entrance
    operations: Mapping[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*([.-]\w+)*$")], Asked] = {}
    calls: Mapping[Name, Names] = Field({}, description="caller -> all services that it calls, instead of guesses")
    ports: Mapping[Name, Annotated[tuple[PortNumber, ...], Field(strict=False)]] = Field(
        {}, description="service -> TCP ports that it is called on, instead of what is declared and seen"
    )
    protocols: Mapping[Name, Protocols] = Field({}, description="service, or edge such as web->api -> what is spoken")
    probes: Mapping[Name, Annotated[str, Field(pattern=r"^/")]] = Field(
        {}, description="service -> path that canaries ask for"
    )
    variants: Mapping[Annotated[str, Field(pattern=r"^[A-Za-z][\w-]*$")], Override] = {}
    ready_within: Annotated[Duration, Field(gt=0)] = _READY_WITHIN


class TargetFileError(TargetError):
    """A target file that cannot be used: everything that is wrong with it."""

    def __init__(self, complaints: tuple[str, ...]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints


@dataclass(frozen=True)
class Said:
    """A target file that was read, and where it lies."""

    path: Path
    file: TargetFile

    @cached_property
    def files(self) -> Files:
        """Return what Compose is given."""
        target, folder = self.file.target, self.path.parent
        names = (target.compose,) if isinstance(target.compose, str) else target.compose
        return Files(
            files=tuple((folder / name).resolve() for name in names),
            project=target.project or "",
            profiles=target.profiles,
            env_file=(folder / target.env_file).resolve() if target.env_file else None,
        )

    def operations(self) -> tuple[Operation, ...]:
        """Return what traffic may ask; without any, `get` asks for the entrance's first page."""
        asked = self.file.operations or {"get": Asked(about="ask for the first page")}
        return tuple(Operation(name=name, numbers=True, **one.model_dump()) for name, one in asked.items())

    def variants(self) -> tuple[str, ...]:
        """Return the variants: the project as it is, and those with an environment of their own."""
        return (AS_IS, *(name for name in self.file.variants if name != AS_IS))


def is_target_file(name: str) -> bool:
    """Tell whether a target's name is the path of a target file."""
    return name.endswith(ENDINGS)


def load(path: Path) -> Said:
    """Return a target file.

    Raises
    ------
    TargetFileError
        With everything that is wrong with it.
    """
    path = path.resolve()
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TargetFileError((f"{path}: cannot be read: {error.strerror or error}",)) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise TargetFileError((f"{path}: not YAML: {error}",)) from error
    try:
        said = Said(path, TargetFile.model_validate(document))
    except ValidationError as error:
        raise TargetFileError(tuple(f"{path}: {line}" for line in _lines(error))) from error
    missing = [str(one) for one in (*said.files.files, said.files.env_file) if one is not None and not one.is_file()]
    if missing:
        raise TargetFileError(tuple(f"{path}: there is no file {name}" for name in missing))
    return said


def _lines(error: ValidationError) -> list[str]:
    return [_line(detail) for detail in error.errors(include_url=False)]


def _line(detail: Any) -> str:
    where = ".".join(str(step) for step in detail["loc"])
    if detail["type"] != "extra_forbidden":
        return f"{where}: {detail['msg'].removeprefix('Value error, ')}" if where else "should be a mapping"
    known = _known(detail["loc"][:-1])
    near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
    return f"{where}: unknown key; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}")


def _known(path: tuple[Any, ...]) -> list[str]:
    inside: Mapping[str, type[Part]] = {"target": ComposeProject, "traffic": Entrance, "operations": Asked}
    inside = {**inside, "variants": Override}
    return list((inside.get(str(path[0]), TargetFile) if path else TargetFile).model_fields)
