"""Builds the managed Triton runtime: `python -m service.runner.build --into .triton`.

Where the host has no bundled Triton it says so and succeeds: `--engine onnx` serves there.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

from service.errors import ConfigurationError
from service.runner.runtime import (
    PYTHONS,
    STAMP,
    default_directory,
    missing_reason,
    unsupported_reason,
)

SERVER = "nvidia-pytriton==0.7.0"  # without its dependencies: they ask for packages it never uses
PACKAGES = ("numpy==1.26.4", "onnxruntime==1.31.1")

_PROBE = """
import json, numpy, onnxruntime
print(json.dumps({"numpy": numpy.__version__, "onnxruntime": onnxruntime.__version__}))
"""


def build(into: Path, constraints: Path | None = None) -> bool:
    """Build the runtime in `into`, unless it is there already.

    The stamp is written last, so that a half build is never taken for a whole one.

    Args:
        into: the folder; what an earlier build left there is replaced.
        constraints: pins for the packages' own dependencies; a pin of what is pinned here is
            passed over (the project's NumPy is another).

    Returns:
        Whether anything had to be built.

    Raises:
        ConfigurationError: the host has no bundled Triton, or what was installed is not right.
        subprocess.CalledProcessError: the installer failed; it has said why.
    """
    unsupported = unsupported_reason()
    if unsupported:
        raise ConfigurationError(unsupported)
    libpython = _libpython()
    pins = _pins(constraints)
    stamp = {
        "packages": [SERVER, *PACKAGES],
        "constraints": pins,
        "python": ".".join(str(part) for part in sys.version_info[:2]),
        "libpython": str(libpython),
    }
    if _stamped(into) == stamp and missing_reason(into) is None:
        return False
    _remove(into)
    venv.EnvBuilder(with_pip=True, symlinks=True).create(into)
    python = into.absolute() / "bin" / "python"
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins))
        file.flush()
        _install(python, ["--constraint", file.name, *PACKAGES])
    _install(python, ["--no-deps", SERVER])
    _check_versions(python)
    _make_executable(into)
    scratch = into / f"{STAMP}.new"
    scratch.write_text(json.dumps(stamp, indent=2) + "\n")
    scratch.replace(into / STAMP)
    reason = missing_reason(into)
    if reason:
        raise ConfigurationError(f"the build is not whole: {reason}")
    return True


def _remove(into: Path) -> None:
    """Remove an earlier build, and nothing else: the folder must look like one, or be empty."""
    if not into.exists():
        return
    (into / STAMP).unlink(missing_ok=True)
    if any(into.iterdir()) and not (into / "pyvenv.cfg").is_file():
        raise ConfigurationError(f"{into} is not empty and no virtual environment: not replaced")
    shutil.rmtree(into)


def _install(python: Path, what: Sequence[str]) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *what], check=True)  # noqa: S603 - our own interpreter and pins


def _check_versions(python: Path) -> None:
    """The NumPy trap: the stub is built for NumPy 1, and is silent about any other."""
    probe = [str(python), "-c", _PROBE]
    answer = subprocess.run(probe, check=True, capture_output=True, text=True)  # noqa: S603 - as above
    versions = json.loads(answer.stdout.splitlines()[-1])
    if not versions["numpy"].startswith("1."):
        raise ConfigurationError(
            f"the runtime got NumPy {versions['numpy']}: its stub needs NumPy 1, "
            f"with another every output arrives empty"
        )


def _make_executable(into: Path) -> None:
    for name in ("tritonserver", "triton_python_backend_stub"):
        for file in into.glob(f"lib/python*/site-packages/pytriton/tritonserver/**/{name}"):
            file.chmod(file.stat().st_mode | 0o111)


def _libpython() -> Path:
    """The folder of libpython, which the stub is linked to."""
    name = str(sysconfig.get_config_var("INSTSONAME"))
    folders = [Path(sys.base_prefix) / "lib"]
    configured = sysconfig.get_config_var("LIBDIR")
    if configured:
        folders.insert(0, Path(configured))
    for folder in folders:
        if (folder / name).is_file() and ".so" in name:
            return folder
    looked = " or ".join(str(folder) for folder in folders)
    raise ConfigurationError(f"this Python has no shared libpython ({name} in {looked})")


def _pins(constraints: Path | None) -> list[str]:
    if constraints is None:
        return []
    ours = {_distribution(package) for package in (SERVER, *PACKAGES)}
    lines = (line.partition("#")[0].strip() for line in constraints.read_text().splitlines())
    return [line for line in lines if line and _distribution(line) not in ours]


def _distribution(requirement: str) -> str:
    name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def _stamped(into: Path) -> object:
    try:
        return json.loads((into / STAMP).read_text())
    except (OSError, ValueError):
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m service.runner.build", description=__doc__)
    parser.add_argument("--into", type=Path, default=default_directory())
    parser.add_argument("--constraints", type=Path, help="pins for the dependencies")
    options = parser.parse_args(arguments)
    unsupported = unsupported_reason()
    if unsupported:
        known = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
        sys.stdout.write(
            f"no managed Triton: {unsupported}. `--engine onnx` serves without it, and "
            f"`--triton-url` uses one that runs elsewhere (Linux x86_64, Python {known}: bundled)\n"
        )
        return 0
    try:
        built = build(options.into, options.constraints)
    except (ConfigurationError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"the managed Triton could not be built: {error}\n")
        return 1
    sys.stdout.write(f"managed Triton {'built' if built else 'is up to date'} in {options.into}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
