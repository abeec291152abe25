"""Compose projects for tests of their adoption: written as text, read by Compose itself, which needs no engine."""

from pathlib import Path

from targets.compose.adoption import Adoption, adopt
from targets.compose.overlay import Ground, Overlay, lay_over
from targets.compose.project import Port, Project, read
from targets.compose.targetfile import Said, load

ENTRANCE = "traffic: {to: web, port: 8080}\n"
GROUND = Ground(tuple(f"10.1.{number}" for number in range(40)), "toxiproxy:1", "tools:1", "mesh:1", "/run")


def said(folder: Path, compose: str, more: str = "", entrance: str = ENTRANCE) -> Said:
    """Return the target file of a project, both written into a folder."""
    (folder / "docker-compose.yml").write_text(compose)
    path = folder / "shop.yaml"
    path.write_text(f"target: {{compose: docker-compose.yml, project: shop}}\n{entrance}{more}")
    return load(path)


def project(folder: Path, compose: str) -> Project:
    """Return a project."""
    return read(said(folder, compose).files)


def adopted(folder: Path, compose: str, more: str = "", exposed: dict[str, tuple[Port, ...]] | None = None) -> Adoption:
    """Return the adoption of a project."""
    read_file = said(folder, compose, more)
    return adopt(read_file, read(read_file.files), exposed)


def overlaid(folder: Path, compose: str, more: str = "") -> Overlay:
    """Return the overlay of a project."""
    return lay_over(adopted(folder, compose, more), GROUND)
