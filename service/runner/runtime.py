"""The managed Triton runtime: a tritonserver in an environment of its own.

The wheel `nvidia-pytriton` carries a real tritonserver with its Python backend, whose stub is
built for NumPy 1: beside NumPy 2 every output arrives with 0 bytes, silently. Hence the separate
environment, first on PATH. It is built by `python -m service.runner.build`.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STAMP = "lupine-runtime.json"
VARIABLE = "LUPINE_TRITON__RUNTIME"

# Pythons for which both a stub and a NumPy 1 exist.
PYTHONS = ((3, 11), (3, 12))
GLIBC = (2, 35)  # what the wheel's tag asks for

_BACKEND = Path(__file__).with_name("onnxruntime_backend")
_PACKAGE = Path(__file__).parents[1]
# What the backend imports of this package, by the same names as here.
_SHARED = (
    "__init__.py",
    "repository/__init__.py",
    "repository/completion.py",
    "repository/session.py",
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """A built runtime: where its parts are.

    Args:
        directory: the virtual environment.
        server: the tritonserver binary.
        backend: the files of Triton's Python backend: library, Python module and stub.
        libraries: folders for LD_LIBRARY_PATH: the wheel's own, and Python's.
    """

    directory: Path
    server: Path
    backend: tuple[Path, ...]
    libraries: tuple[Path, ...]

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.directory / "bin" / "python"

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables to start tritonserver with: `base` (or this process's), adjusted.

        The environment's `bin` leads PATH: it decides which NumPy the stubs load. What would lead
        them to another Python's packages is dropped.
        """
        variables = dict(os.environ if base is None else base)
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
            variables.pop(name, None)
        variables["PYTHONNOUSERSITE"] = "1"
        _prepend(variables, "PATH", [self.directory / "bin"])
        _prepend(variables, "LD_LIBRARY_PATH", self.libraries)
        return variables

    def command(
        self,
        repository: Path,
        *,
        http_port: int,
        grpc_port: int,
        metrics_port: int,
        backend_directory: Path,
        shm_prefix: str,
        load_models: Iterable[str] = (),
        extra: Sequence[str] = (),
    ) -> list[str]:
        """The command line of a tritonserver that listens on loopback alone.

        Start it in an empty directory: the stubs import modules from where it runs.

        Args:
            repository: the model repository.
            http_port: where HTTP listens; 0 is not possible.
            grpc_port: where gRPC listens.
            metrics_port: where /metrics listens.
            backend_directory: what `assemble_backends` made.
            shm_prefix: the first part of the names of its regions in /dev/shm, so that
                `stub_memory.sweep` finds what a killed server leaves.
            load_models: what to load at start; "*" stands for all.
            extra: further flags, taken as they are.
        """
        return [
            str(self.server),
            f"--model-repository={repository}",
            "--http-address=127.0.0.1",
            f"--http-port={http_port}",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={grpc_port}",
            "--metrics-address=127.0.0.1",
            f"--metrics-port={metrics_port}",
            "--model-control-mode=explicit",
            "--exit-on-error=false",
            "--strict-readiness=false",
            f"--backend-directory={backend_directory}",
            f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
            *(f"--load-model={name}" for name in load_models),
            *extra,
        ]


def default_directory(environment: Mapping[str, str] | None = None) -> Path:
    """Where the runtime is: what LUPINE_TRITON__RUNTIME names, or `.triton` in the project."""
    variables = os.environ if environment is None else environment
    named = variables.get(VARIABLE)
    return Path(named) if named else Path(__file__).parents[2] / ".triton"


def unsupported_reason() -> str | None:
    """Why no runtime can be had on this host and Python; None where one can."""
    host = f"{platform.system()} {platform.machine()}"
    if host != "Linux x86_64":
        return f"this is {host}: the bundled Triton exists for Linux x86_64 only"
    library, version = platform.libc_ver()
    if library != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < GLIBC:
        needed = ".".join(str(part) for part in GLIBC)
        return f"this C library is {library or 'not glibc'} {version}: glibc {needed} is needed"
    if sys.version_info[:2] not in PYTHONS:
        known = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
        return f"this is Python {platform.python_version()}: the bundled Triton needs {known}"
    return None


def missing_reason(directory: Path) -> str | None:
    """Why `find_runtime` finds none there, as a sentence for the operator; None where it does."""
    unsupported = unsupported_reason()
    if unsupported:
        return unsupported
    if not (directory / STAMP).is_file():
        return f"no runtime is built in {directory}: `make setup` builds it"
    runtime = _described(directory)
    if isinstance(runtime, str):
        return runtime
    parts = (runtime.server, runtime.python, *runtime.backend, *runtime.libraries)
    absent = [str(part) for part in parts if not part.exists()]
    if absent:
        return f"the runtime in {directory} lacks {', '.join(absent)}: `make setup` rebuilds it"
    return None


def find_runtime(directory: Path) -> Runtime | None:
    """The runtime built in `directory`, or None: `missing_reason` then says why."""
    if missing_reason(directory):
        return None
    runtime = _described(directory.absolute())
    return runtime if isinstance(runtime, Runtime) else None


def assemble_backends(runtime: Runtime, into: Path) -> Path:
    """Lay out a backend directory for tritonserver: Triton's Python backend, and ours on it.

    The files are copies: Triton refuses a backend library that is a link out of its folder. A
    running server keeps the files that it has open, so laying out again beside it is safe.

    Returns:
        `into`, for `Runtime.command`.
    """
    for file in runtime.backend:
        _place(file, into / "python" / file.name)
    for file in sorted(_BACKEND.glob("*.py")):
        _place(file, into / "onnxruntime" / file.name)
    for name in _SHARED:
        _place(_PACKAGE / name, into / "onnxruntime" / _PACKAGE.name / name)
    return into


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as scratch:
        pass
    shutil.copy2(source, scratch.name)
    Path(scratch.name).replace(target)


def _described(directory: Path) -> Runtime | str:
    """The runtime that the stamp in `directory` describes, or what is wrong with the stamp."""
    try:
        stamp = json.loads((directory / STAMP).read_text())
        python, libpython = str(stamp["python"]), Path(stamp["libpython"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"the stamp of the runtime in {directory} cannot be read ({error!r})"
    current = ".".join(str(part) for part in sys.version_info[:2])
    if python != current:
        return f"the runtime in {directory} is of Python {python}, this is {current}: rebuild it"
    packages = directory / "lib" / f"python{python}" / "site-packages"
    triton = packages / "pytriton" / "tritonserver"
    return Runtime(
        directory=directory,
        server=triton / "bin" / "tritonserver",
        backend=(
            triton / "backends" / "python" / "libtriton_python.so",
            triton / "backends" / "python" / "triton_python_backend_utils.py",
            triton / "python_backend_stubs" / python / "triton_python_backend_stub",
        ),
        libraries=(packages / "nvidia_pytriton.libs", libpython),
    )


def _prepend(variables: dict[str, str], name: str, folders: Iterable[Path]) -> None:
    present = [variables[name]] if variables.get(name) else []
    variables[name] = os.pathsep.join([*map(str, folders), *present])
