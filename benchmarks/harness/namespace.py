"""Commands in namespaces of their own: without a network, or with other folders at fixed paths.

What a container engine does to a process, as far as `unshare` and `mount` reach. Root may do it,
and so may everybody where the kernel lets users make namespaces.
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOME = Path("/opt/lupine")  # where the image has everything of its own
_PYTHON = Path("/usr/local")  # where the base image has Python
_SYSTEM = (Path("/usr"), _PYTHON)
# mount_setattr(2) on everything at once: there is no command for it before util-linux 2.39.
# /proc stays as it is, as in a container.
_READ_ONLY = """
import ctypes, struct
call = ctypes.CDLL(None, use_errno=True).syscall
for path, recursive, given, taken in (b"/", 0x8000, 1, 0), (b"/proc", 0, 0, 1):
    attributes = struct.pack("QQQQ", given, taken, 0, 0)  # MOUNT_ATTR_RDONLY is 1
    if call(442, -100, path, recursive, attributes, len(attributes)):  # -100 is AT_FDCWD
        raise OSError(ctypes.get_errno(), f"mount_setattr {path}")
"""


@functools.cache
def trouble() -> str:
    """Why no namespaces can be had here; empty where they can."""
    try:
        probe = "mount -t tmpfs none /tmp && ip link set lo up"
        subprocess.run(
            ["unshare", *_flags(network=True), "bash", "-ec", probe],
            check=True,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip() or "unshare failed"
    return ""


def offline(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` with a loopback of its own, and no other network."""
    script = 'ip link set lo up; exec "$@"'
    return ["unshare", *_flags(network=True), "bash", "-ec", script, "bash", *command]


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Where a command of an image runs.

    Args:
        home: what is at /opt/lupine.
        environment: the image's variables; nothing of this process's is added but what pip and a
            proxy need, and that only where `user` is root.
        folder: the working directory.
        user: a numeric user and group.
        read_only: whether nothing can be written but /tmp, which is empty, and /dev/shm.
        runs_tmp: whether what lies in /tmp may be run. `docker run --tmpfs /tmp` says no.
        hidden: folders that appear empty.
    """

    home: Path
    environment: Mapping[str, str]
    folder: str
    user: int = 0
    read_only: bool = False
    runs_tmp: bool = False
    hidden: Sequence[Path] = field(default=())

    def command(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` there; it becomes the command itself."""
        prefix = Path(sys.base_prefix).resolve()
        moved = prefix not in _SYSTEM
        lines = ["mount --make-rprivate /", *_replace(HOME.parent, HOME, self.home)]
        if moved:  # as in the base image, and nowhere else
            lines += [f"mount --rbind {prefix} {_PYTHON}", f"mount -t tmpfs none {prefix}"]
        if self.read_only:
            python = _PYTHON / "bin" / "python3" if moved else Path(sys.executable)
            libraries = f"LD_LIBRARY_PATH={_PYTHON}/lib"
            lines += [f"{libraries} {python} -c {shlex.quote(_READ_ONLY)}"]
            options = "nosuid,nodev,mode=1777"
            scratch = options if self.runs_tmp else f"noexec,{options}"
            lines += [f"mount -t tmpfs -o {scratch} none /tmp"]
            lines += [f"mount -t tmpfs -o noexec,{options} none /dev/shm"]
        for folder in map(shlex.quote, map(str, self.hidden)):  # one in /tmp is hidden by now
            lines.append(f"if [ -d {folder} ]; then mount -t tmpfs none {folder}; fi")
        lines += [f"cd {shlex.quote(self.folder)}"]
        variables = [f"{name}={value}" for name, value in self._variables(moved=moved).items()]
        inner = [*_as_user(self.user), "env", "-i", *variables, *command]
        lines += ["umask 022", f"exec {shlex.join(inner)}"]
        return ["unshare", *_flags(network=False), "bash", "-ec", "\n".join(lines)]

    def _variables(self, *, moved: bool) -> dict[str, str]:
        found = {
            name: value
            for name, value in os.environ.items()
            if self.user == 0 and (name.startswith("PIP_") or name.lower().endswith("_proxy"))
        }
        if moved:  # the base image tells the loader by `ldconfig`
            found["LD_LIBRARY_PATH"] = str(_PYTHON / "lib")
        return found | dict(self.environment)


def _flags(*, network: bool) -> list[str]:
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return [*root, "--mount", *(["--net"] if network else [])]


def _as_user(user: int) -> list[str]:
    if user == 0:
        return []
    if os.geteuid() == 0:
        identity = [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return ["setpriv", *identity, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    return ["unshare", "--user", f"--map-user={user}", f"--map-group={user}"]


def _replace(parent: Path, target: Path, source: Path) -> list[str]:
    """Lay `source` over `target`, which need not be there, and keep what is beside it."""
    lines = [
        f"source={shlex.quote(str(source))}",
        "kept=$(mktemp -d)",
        "mount -t tmpfs none $kept",
        "mkdir $kept/source $kept/beside",
        "mount --bind $source $kept/source",
    ]
    if parent.is_dir():
        lines += [f"mount --rbind {parent} $kept/beside", f"mount -t tmpfs none {parent}"]
        for entry in sorted(parent.iterdir()):
            if entry.is_dir() and entry != target:
                name = shlex.quote(entry.name)
                lines += [f"mkdir {parent}/{name}"]
                lines += [f"mount --rbind $kept/beside/{name} {parent}/{name}"]
    return [*lines, f"mkdir {target}", f"mount --bind $kept/source {target}"]
