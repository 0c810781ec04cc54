"""The Dockerfile without an engine: every RUN is run, every COPY copied, into scratch folders.

It stands in for `docker build` where there is none. The base image is this machine, its Python at
the image's path; what the image writes must lie in /opt/lupine, so each stage is one folder.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from dockerfile_parse import DockerfileParser

from benchmarks.harness.gateway import ROOT
from benchmarks.harness.namespace import HOME, Container

_BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction: its word in capitals, and the rest as one line."""

    word: str
    value: str


def instructions(dockerfile: Path = ROOT / "Dockerfile") -> list[Instruction]:
    """What the Dockerfile says, without its comments."""
    text = io.BytesIO(dockerfile.read_bytes())  # not the path: the parser may write to it
    parser = DockerfileParser(fileobj=text)  # type: ignore[arg-type]  # it reads bytes, whatever its types say
    return [
        Instruction(word=one["instruction"], value=one["value"])
        for one in parser.structure
        if one["instruction"] != "COMMENT"
    ]


@dataclass(slots=True, kw_only=True)
class Stage:
    """An image, or a step on the way: its files, and what its configuration says."""

    tree: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _BASE_PATH})
    folder: str = "/"
    user: int = 0
    base: str = ""
    entrypoint: tuple[str, ...] = ()
    health: tuple[str, ...] = ()
    stop_signal: str = ""
    ports: tuple[int, ...] = ()

    def container(self, variables: Mapping[str, str]) -> Container:
        """Where its ENTRYPOINT runs: as its user, read-only, without this machine's own files."""
        return Container(
            home=self.tree,
            environment=self.environment | dict(variables),
            folder=self.folder,
            user=self.user,
            read_only=True,
            runs_tmp="LUPINE_TRITON__RUNTIME" in self.environment,  # as the runbook says
            hidden=(ROOT, Path.home()),
        )


class Build:
    """One build of the Dockerfile. Stages that two targets share are made once.

    Args:
        scratch: where the stages' folders go.
        context: what COPY copies from; `.dockerignore` is not looked at.
    """

    def __init__(self, scratch: Path, context: Path = ROOT) -> None:
        self._scratch = scratch
        self._context = context
        self._made: dict[str, Stage] = {}

    def image(self, **arguments: str) -> Stage:
        """The last stage, with these build arguments."""
        wanted: list[list[Instruction]] = []
        defaults: dict[str, str] = {}
        for one in instructions(self._context / "Dockerfile"):
            if one.word == "FROM":
                wanted.append([])
            elif not wanted:
                name, _, value = one.value.partition("=")
                defaults[name] = value
                continue
            wanted[-1].append(one)
        chosen = defaults | arguments
        stages = {}
        for steps in wanted:
            source, name = re.fullmatch(r"(\S+) AS (\S+)", steps[0].value).groups()  # type: ignore[union-attr]
            stages[name] = (_filled(source, chosen), steps[1:])
        return self._make(name, stages)

    def _make(self, name: str, stages: Mapping[str, tuple[str, list[Instruction]]]) -> Stage:
        source, steps = stages[name]
        label = f"{name} from {source}"
        if label in self._made:
            return self._made[label]
        tree = self._scratch / label.replace(" ", "-").replace("/", "-").replace(":", "-")
        tree.mkdir()
        stage = Stage(tree=tree, base=source)
        if source in stages:
            below = self._make(source, stages)
            _link(below.tree, tree)
            stage = replace(below, tree=tree, environment=dict(below.environment))
        for step in steps:
            self._apply(stage, step, stages)
        self._made[label] = stage
        return stage

    def _apply(self, stage: Stage, step: Instruction, stages: Mapping[str, Any]) -> None:
        match step.word:
            case "RUN":
                _run(stage, step.value)
            case "COPY":
                self._copy(stage, shlex.split(step.value), stages)
            case "WORKDIR":
                stage.folder = str(PurePosixPath(stage.folder) / step.value)
                _inside(stage, stage.folder).mkdir(parents=True, exist_ok=True)
            case _:
                _configure(stage, step)

    def _copy(self, stage: Stage, words: Sequence[str], stages: Mapping[str, Any]) -> None:
        if words[0].startswith("--from="):
            source = self._make(words[0].removeprefix("--from="), stages)
            for path in words[1:-1]:
                _link(_inside(source, path), _inside(stage, words[-1]))
            return
        for name in words[:-1]:
            found = self._context / name
            target = _inside(stage, str(PurePosixPath(stage.folder) / words[-1]))
            if found.is_dir():
                shutil.copytree(found, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, target)


def _configure(stage: Stage, step: Instruction) -> None:
    match step.word:
        case "ENV":
            for pair in shlex.split(step.value):
                name, _, value = pair.partition("=")
                stage.environment[name] = _filled(value, stage.environment)
        case "USER":
            stage.user = int(step.value.partition(":")[0])
        case "ENTRYPOINT":
            stage.entrypoint = tuple(json.loads(step.value))
        case "HEALTHCHECK":
            stage.health = tuple(json.loads(step.value.partition("CMD ")[2]))
        case "STOPSIGNAL":
            stage.stop_signal = step.value
        case "EXPOSE":
            stage.ports = tuple(int(port) for port in step.value.split())
        case _:
            raise ValueError(f"the Dockerfile says {step.word}: teach {__name__} what it means")


def _inside(stage: Stage, path: str) -> Path:
    return stage.tree / PurePosixPath(path).relative_to(HOME)


def _link(source: Path, target: Path) -> None:
    """As a copy, without the bytes: what is replaced later gets a file of its own."""
    shutil.copytree(source, target, copy_function=os.link, symlinks=True, dirs_exist_ok=True)


def _filled(text: str, variables: Mapping[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: variables[found[1]], text)


def _run(stage: Stage, line: str) -> None:
    environment = stage.environment | {"HOME": str(Path.home())}
    environment.pop("PIP_NO_CACHE_DIR", None)  # this machine's cache is in no layer
    inside = Container(home=stage.tree, environment=environment, folder=stage.folder)
    command = inside.command(["/bin/sh", "-c", line])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd="/"
    )
    if done.returncode:
        raise RuntimeError(f"RUN {line}\nexits with {done.returncode}:\n{done.stdout}{done.stderr}")


def size(folder: Path) -> int:
    """The bytes of all files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
