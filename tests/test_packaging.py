"""What `pip install .` installs works without the checkout: commands, migrations, page files."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("homeserver", "api", "federation", "migrations")

MIGRATE = """
import pathlib, sqlalchemy, homeserver
from homeserver.storage import upgrading
print(pathlib.Path(homeserver.__file__).parents[1])
print(len(upgrading.known_revisions()))
engine = sqlalchemy.create_engine("sqlite:///test.db")
with engine.begin() as connection:
    upgrading.migrate(connection)
    print(upgrading.current_revision(connection))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, unpacked far from the checkout."""
    source, wheels, site = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "site"))
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(wheels), "."]
    subprocess.run([sys.executable, "-m", *command], cwd=source, check=True)
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run(site: Path, *arguments: str, cwd: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.mark.slow
def test_the_wheel_holds_every_file_that_is_no_program_too(installed: Path) -> None:
    kept = {
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sorted(path for path in kept if not (installed / path).exists()) == []
    assert not (installed / "tests").exists()


@pytest.mark.slow
def test_an_installed_server_can_migrate_a_database(installed: Path, tmp_path: Path) -> None:
    place, known, revision = run(installed, "-c", MIGRATE, cwd=tmp_path).split()
    assert Path(place) == installed
    assert int(known) > 0
    assert revision == f"{int(known):04}"


@pytest.mark.slow
def test_an_installed_server_can_be_set_up(installed: Path, tmp_path: Path) -> None:
    arguments = ("-m", "homeserver", "init", "--data-dir", str(tmp_path / "server"))
    assert "Your server is set up." in run(installed, *arguments, cwd=tmp_path)
    assert (tmp_path / "server" / "homeserver.db").exists()
