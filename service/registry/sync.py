"""Applies what `plan` says: fetch, try out, publish, load, flip, retire; each step at once or not.

After every step the state is written, and every step may be done again: a sync that is killed
anywhere is gone on with by the next one, and what served keeps serving meanwhile.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from service.errors import InvalidRequestError, NotFoundError
from service.protocol.routes import CHAMPION
from service.registry import beat, canary, configuring, fetch, plan, smoke
from service.registry.gateway_client import GatewayClient
from service.registry.mlflow import MlflowRegistry, RegisteredModel, RegistryError
from service.registry.plan import Aliases, Fetch, Flip, Retire
from service.registry.publication import Publication
from service.registry.refused import RefusedVersionError
from service.registry.state import Model, Published, Refusal, State, StateFolder
from service.settings import RegistrySettings

_SERVE_TAG = "lupine.serve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one sync did, a sentence each, and what is wrong."""

    done: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Course:
    """One sync under way: whether the gateway runs, and what is to be told."""

    running: bool
    done: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Sync:
    """Brings a repository to what a registry says.

    Args:
        registry: is asked.
        repository: of models; exists.
        folder: what is known; its lock is held by the caller.
        settings: what is selected, and the limits.
        gateway: that serves the repository.
        told: is called with each step before it is taken.
    """

    def __init__(
        self,
        registry: MlflowRegistry,
        repository: Path,
        folder: StateFolder,
        *,
        settings: RegistrySettings,
        gateway: GatewayClient,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._registry = registry
        self._publication = Publication(repository, folder.staging, gateway)
        self._folder = folder
        self._settings = settings
        self._gateway = gateway
        self._told = told
        self._polls = 0

    def once(self, *, again: bool = False) -> Report:
        """One sync. Whatever goes wrong with one version leaves the others alone.

        Args:
            again: try what was refused for good once more.

        Raises:
            ConfigurationError: the folder or the repository cannot be used.
        """
        self._polls += 1
        known = self._folder.read()
        report, state = self._synced(known, again=again)
        counted = beat.after(
            beat.read(self._folder.path), known, state, now=time.time(), well=not report.wrong
        )
        beat.write(self._folder.path, counted)
        return report

    def _synced(self, known: State, *, again: bool) -> tuple[Report, State]:
        state = known
        if again:
            state = msgspec.structs.replace(state, refused={})
        try:
            wanted = self._wanted()
        except RegistryError as error:
            state = msgspec.structs.replace(state, registry=str(error))
            if state != known:
                self._folder.write(state)
            return Report(done=(), wrong=(str(error),)), state
        state = msgspec.structs.replace(state, registry="", refused=_current(state, wanted))
        course = _Course(self._gateway.running())
        for step in plan.fetches(wanted, state, self._polls):
            self._told(f"{step.model} version {step.version}: fetching")
            state = self._fetched(step, state, course)
        for flip in plan.flips(wanted, state):
            state = self._flipped(flip, state, course)
        state = self._canaries(wanted, state, course)
        for retire in plan.retirements(wanted, state, self._settings.keep_versions):
            state = self._retired(retire, state, course)
        if state != known:
            self._folder.write(state)
        self._sweep(state)
        refused = [f"{where}: {refusal.reason}" for where, refusal in state.refused.items()]
        wrong = (*course.wrong, *refused, *_lost(state, wanted))
        return Report(done=tuple(course.done), wrong=wrong), state

    def roll_back(self, name: str, alias: str = CHAMPION) -> Report:
        """Let an alias name the version that it named before; nothing is downloaded.

        The registry's alias is moved too, where it answers. Where it does not, its word is left
        aside until it names another version than the one that was rolled back.

        Raises:
            NotFoundError: there is no such model or alias.
            InvalidRequestError: it never named another version that is still here.
            ConfigurationError: the state cannot be read.
        """
        state = self._folder.read()
        model = state.models.get(name)
        if model is None or alias not in model.routes:
            known = ", ".join(sorted(state.models)) or "none"
            raise NotFoundError(f"{name!r} has no alias {alias!r} here: models are {known}")
        pair = plan.rolled_back(model, alias)
        if pair is None:
            raise InvalidRequestError(
                f"{name}@{alias} names version {model.routes[alias]} and has named no other "
                "that is still here"
            )
        bad, good = pair
        flip = Flip(name, {**model.routes, alias: good}, {**model.held, alias: bad})
        course = _Course(self._gateway.running())
        self._flipped(flip, state, course)
        try:
            self._registry.move_alias(name, alias, good)
            course.done.append(f"{name}@{alias} moved in the registry too")
        except RegistryError as error:
            course.wrong.append(f"the alias stays in the registry: {error}")
        return Report(done=tuple(course.done), wrong=tuple(course.wrong))

    def _wanted(self) -> dict[str, Aliases]:
        return {
            model.name: model.aliases
            for model in self._registry.models()
            if model.aliases and self._selected(model)
        }

    def _selected(self, model: RegisteredModel) -> bool:
        settings = self._settings
        match settings.select:
            case "names":
                return model.name in settings.chosen_names()
            case "prefix":
                return model.name.startswith(settings.prefix)
            case _:
                return model.tags.get(_SERVE_TAG, "").lower() == "true"

    # ------------------------------------------------------------ fetch

    def _fetched(self, step: Fetch, state: State, course: _Course) -> State:
        before = state.models.get(step.model, Model())
        # What lay there before the sync came is looked at before anything is added to it.
        known = before.versions or self._publication.foreign(step.model)
        try:
            published = self._bring(step, known, state.order + 1, running=course.running)
        except (RefusedVersionError, RegistryError, OSError) as error:
            return _refused(state, step, error)
        if step.version in known:  # the very bytes: they stay somebody else's
            published = known[step.version]
        versions = {**known, step.version: published}
        model = msgspec.structs.replace(before, versions=versions)
        models = {**state.models, step.model: model}
        refused = {
            k: v for k, v in state.refused.items() if k != plan.key(step.model, step.version)
        }
        state = msgspec.structs.replace(
            state, models=models, refused=refused, order=state.order + 1
        )
        self._folder.write(state)
        course.done.append(
            f"{step.model} version {step.version}: {published.bytes:,} bytes, loaded"
        )
        return state

    def _bring(
        self, step: Fetch, known: Mapping[str, Published], order: int, *, running: bool
    ) -> Published:
        version = self._registry.version(step.model, step.version)
        limits = self._settings
        fetched = fetch.fetch(
            self._registry, version, self._folder.staging, max_bytes=limits.max_model_bytes
        )
        config = configuring.wanted(
            step.model, fetched.model.name, version.tags, fetched.config, limits.max_batch_size
        )
        if fetched.model.name.endswith(".onnx"):
            self._told(f"{step.model} version {step.version}: trying it out")
            config = smoke.try_out(
                fetched.model,
                config,
                seconds=limits.smoke_seconds,
                memory_bytes=limits.smoke_memory_bytes,
            )
        self._told(f"{step.model} version {step.version}: publishing it")
        self._publication.add(step.model, step.version, fetched, config, known, running=running)
        return Published(sha256=fetched.sha256, bytes=fetched.bytes, order=order)

    # ------------------------------------------------------------ flip and retire

    def _flipped(self, flip: Flip, state: State, course: _Course) -> State:
        model = state.models[flip.model]
        changed = plan.flipped(model, flip, state.order + 1)
        models = {**state.models, flip.model: changed}
        state = msgspec.structs.replace(state, models=models, order=state.order + 1)
        self._route(state, course)
        for alias in sorted({*model.routes, *flip.routes}):
            old, new = model.routes.get(alias), flip.routes.get(alias)
            if old != new:
                course.done.append(f"{flip.model}@{alias}: {old or 'nothing'} → {new or 'nothing'}")
        return state

    def _route(self, state: State, course: _Course) -> None:
        """Write the routes, and tell the workers; untold they look by themselves, soon after."""
        self._folder.write_routes(state)
        self._folder.write(state)
        if not course.running:
            return
        try:
            self._gateway.routes_changed()
        except RefusedVersionError as error:
            course.wrong.append(error.reason)

    def _canaries(self, wanted: Mapping[str, Aliases], state: State, course: _Course) -> State:
        models = {name: state.models.get(name, Model()) for name in wanted}
        some = any(canary.candidates(models[name], wanted[name]) for name in wanted)
        try:
            tags = canary.tags(self._registry) if some else {}
        except RegistryError as error:
            course.wrong.append(str(error))
            return state
        for name, model in sorted(models.items()):
            try:
                found, shadow = canary.wanted(tags, name, model, wanted[name])
            except RegistryError as error:  # what it was stays
                course.wrong.append(str(error))
                continue
            if (found, shadow) == (model.canary, model.shadow):
                continue
            changed = msgspec.structs.replace(model, canary=found, shadow=shadow)
            state = msgspec.structs.replace(state, models={**state.models, name: changed})
            self._route(state, course)
            if found != model.canary:
                told = f"version {found.version} answers {found.share:.2%}" if found else "ended"
                course.done.append(f"{name}: canary {told}")
            if shadow != model.shadow:
                told = f"version {shadow.version} sees {shadow.share:.2%}" if shadow else "ended"
                course.done.append(f"{name}: shadow {told}")
        return state

    def _retired(self, retire: Retire, state: State, course: _Course) -> State:
        model = state.models[retire.model]
        left = {k: v for k, v in model.versions.items() if k not in retire.versions}
        try:
            self._publication.retire(retire.model, retire.versions, left, running=course.running)
        except RefusedVersionError as error:
            course.done.append(f"{retire.model}: old versions stay for now: {error.reason}")
            return state
        changed = msgspec.structs.replace(
            model,
            versions=left,
            before={
                alias: tuple(one for one in had if one in left)
                for alias, had in model.before.items()
            },
        )
        state = msgspec.structs.replace(state, models={**state.models, retire.model: changed})
        self._folder.write(state)
        course.done.append(f"{retire.model}: version {', '.join(retire.versions)} retired")
        return state

    def _sweep(self, state: State) -> None:
        """Staging holds what may be gone on with: of versions that may still come."""
        if not self._folder.staging.is_dir():
            return
        for entry in self._folder.staging.iterdir():
            if not entry.is_dir():
                entry.unlink()
                continue
            for version in entry.iterdir():
                refusal = state.refused.get(plan.key(entry.name, version.name))
                if refusal is None or refusal.final:
                    shutil.rmtree(version, ignore_errors=True)
            if not any(entry.iterdir()):
                entry.rmdir()


def _refused(state: State, step: Fetch, error: Exception) -> State:
    final = isinstance(error, RefusedVersionError) and error.final
    where = plan.key(step.model, step.version)
    before = state.refused.get(where)
    tries = (before.tries if before else 0) + 1
    refusal = Refusal(reason=str(error), tries=tries, final=final)
    return msgspec.structs.replace(state, refused={**state.refused, where: refusal})


def _current(state: State, wanted: Mapping[str, Aliases]) -> dict[str, Refusal]:
    """The refusals that still matter: of versions that an alias still names."""
    named = {plan.key(name, one) for name, aliases in wanted.items() for one in aliases.values()}
    return {where: refusal for where, refusal in state.refused.items() if where in named}


def _lost(state: State, wanted: Mapping[str, Aliases]) -> list[str]:
    """What serves on though the registry has it no more."""
    found = []
    for name, model in sorted(state.models.items()):
        if CHAMPION not in model.routes:
            continue
        if name not in wanted:
            found.append(f"{name} is not in the registry any more, or not selected: it serves on")
        elif CHAMPION not in wanted[name]:
            found.append(
                f"{name} has no alias {CHAMPION} any more: "
                f"version {model.routes[CHAMPION]} serves on"
            )
    return found
