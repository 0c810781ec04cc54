"""What a bento brings along: a `lupine.toml` and a `triton_repo` of its own, beside `service`.

`bentoml serve TAG` runs the supervisor in the caller's folder and the workers in the bento's. Left
to themselves they would read different files.
"""

from __future__ import annotations

from pathlib import Path

from service import settings as settings_module
from service.errors import ConfigurationError
from service.repository import layout
from service.repository.survey import survey
from service.settings import Repository, Settings

HOME = Path(__file__).parents[2]  # the folder that holds the package `service`: the bento's `src`


def load(folder: Path | None = None, home: Path = HOME) -> Settings:
    """The settings of a gateway that `bentoml serve` starts, its paths independent of the folder.

    `lupine.toml`, the model repository and the managed runtime are looked for in the working
    directory first, then in the bento. A path that the environment names is taken as it is.

    Args:
        folder: instead of the working directory.
        home: instead of the bento.

    Raises:
        ConfigurationError: a setting is unknown, or cannot be used.
    """
    here = folder or Path.cwd()
    own = (here / settings_module.FILE).is_file()
    settings, origins = settings_module.load(folder=here if own else home)

    def placed(key: str) -> Path:
        path: Path = settings_module.value(settings, key)
        named = origins[key].startswith("environment")
        carried = not named and not (here / path).is_dir() and (home / path).is_dir()
        return (home if carried else here) / path

    repository, runtime = placed("repository.path"), placed("triton.runtime")
    return settings.model_copy(
        update={
            "repository": settings.repository.model_copy(update={"path": repository}),
            "triton": settings.triton.model_copy(update={"runtime": runtime}),
        }
    )


def check(home: Path) -> None:
    """Make sure that a bento holds its models whole.

    Most of a model's bytes are in no version control: a build on a fresh clone would miss them.

    Raises:
        ConfigurationError: what is missing.
    """
    repository = home / Repository().path
    layout.check_repository(repository)
    lacking = [
        f"{found.name}: {problem}" for found in survey(repository) for problem in found.problems
    ]
    if lacking:
        raise ConfigurationError(
            f"{Repository().path} is not whole: {'; '.join(lacking)} (`make setup` makes models)"
        )
