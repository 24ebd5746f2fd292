"""Presets: every setting that a published score used, as one table for each family of models.

family: my-family
code: OWNER/NAME, commit …   # what the paths among the sources are of
presets:
  my-model-2b: {model: OWNER/NAME, published: name of its row in llave/report/published.yaml}
benchmarks: [mmeb-v2]        # the first is taken where the user names none
settings:
  frames: {value: 8, published: 8 of at most 64, source: "eval/video.yaml"}
  batches: {published: 16 items, source: run.sh, ours: by tokens}
  ties: {}                   # what no source tells

A setting that has a ``value`` is an option of ``llave eval``. ``published`` says what the score used and is left out
where nobody says; then there is no ``source`` either. ``ours`` says what llave does instead. A benchmark's table may
add settings for a family (``protocols``), such as frames of a video.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from llave.errors import DataError, UserError
from llave.evaluation.benchmarks import NAMES, get_spec

__all__ = ["NOT_STATED", "OPTIONS", "Preset", "Setting", "Used", "get_preset", "preset_names", "read_presets"]

OPTIONS = (
    "compat", "template", "instructions", "query_prompt", "target_prompt", "ties", "max_length", "min_pixels",
    "max_pixels", "video_min_pixels", "video_max_pixels", "frames", "fps", "dtype",
)  # fmt: skip
"""Of ``llave eval``: those that a preset may set."""
NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a published score used, and what llave does.

    Args:
        name: an option of ``llave eval`` where there is a value, otherwise words.
        value: of the option; None where it is none, or left as it is.
        published: what the score used, in words; :data:`NOT_STATED` where no source tells.
        source: of that; empty where none tells.
        ours: what llave does instead; empty if it does the same.
    """

    name: str
    value: str | int | float | None = None
    published: str = NOT_STATED
    source: str = ""
    ours: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A setting of a published score beside what an evaluation did.

    Args:
        name: of the setting.
        here: what the evaluation did, in words.
        published: what the published score used.
        source: of that.
        state: ``"same"``; ``"differs"``, as llave does not do it so; ``"asked"``, as the user wanted it otherwise; or
            ``"not stated"``, as no source tells.
    """

    name: str
    here: str
    published: str
    source: str
    state: Literal["same", "differs", "asked", "not stated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The settings of a model's published scores.

    Args:
        name: as the user chooses it.
        family: of the table.
        code: what the paths among the sources are of.
        model: its id on the hub.
        published: its row among the published scores; empty where none is recorded.
        benchmarks: that the settings are of; the first is the default. Empty: none that comes with llave.
        settings: in the order of the table.
    """

    name: str
    family: str
    code: str
    model: str
    published: str
    benchmarks: tuple[str, ...]
    settings: tuple[Setting, ...]

    def on(self, benchmark: str | None) -> "Preset":
        """With what a benchmark's own table says for this family.

        Raises:
            DataError: its table says it wrongly.
        """
        if benchmark not in NAMES:
            return self
        own = get_spec(benchmark).protocols.get(self.family, {})
        there = {setting.name: setting for setting in self.settings}
        there |= {setting.name: setting for setting in _settings(f"{benchmark}: protocols: {self.family}", own)}
        return replace(self, settings=tuple(there.values()))

    def used(self, options: Mapping[str, Any]) -> list["Used"]:
        """Every setting beside what an evaluation with these options does."""
        return [_used(setting, options) for setting in self.settings]

    @property
    def options(self) -> dict[str, str | int | float]:
        """Options of ``llave eval``."""
        return {setting.name: setting.value for setting in self.settings if setting.value is not None}


def get_preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        UserError: there is none.
    """
    known = _all()
    if name not in known:
        raise UserError(f"--preset {name}: there are {', '.join(known)}; `llave eval presets` shows their settings")
    return known[name]


def preset_names() -> list[str]:
    """All that come with llave."""
    return list(_all())


@cache
def _all() -> dict[str, Preset]:
    here = files(__package__)
    tables = sorted(Path(str(here / entry.name)) for entry in here.iterdir() if entry.name.endswith(".yaml"))
    return {preset.name: preset for path in tables for preset in read_presets(path)}


def read_presets(path: Path) -> list[Preset]:
    """The presets of a family's table.

    Raises:
        DataError: not such a table; the message names the file, the setting and the way out.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot read ({' '.join(str(error).split())})") from None
    keys = {"family": str, "code": str, "presets": dict, "benchmarks": list, "settings": dict}
    if not isinstance(content, dict) or not all(map(content.get, ("family", "code", "presets"))):
        raise DataError(f"{path}: expected {{family: …, code: …, presets: {{NAME: {{model: …}}}}, settings: {{…}}}}")
    for key, value in content.items():
        if key not in keys or not isinstance(value, keys[key]):
            raise DataError(f"{path}: {key}: expected {', '.join(keys)}, each of its type")
    benchmarks = tuple(content.get("benchmarks", ()))
    unknown = [name for name in benchmarks if name not in NAMES]
    if unknown:
        raise DataError(f"{path}: benchmarks: no {unknown[0]!r}; there are {', '.join(NAMES)}")
    settings = tuple(_settings(str(path), content.get("settings", {})))
    presets = []
    for name, about in content["presets"].items():
        if not isinstance(about, dict) or not about.get("model") or set(about) - {"model", "published"}:
            raise DataError(f"{path}: {name}: expected {{model: OWNER/NAME, published: …}}")
        presets.append(
            Preset(
                name=str(name),
                family=content["family"],
                code=content["code"],
                model=about["model"],
                published=about.get("published", ""),
                benchmarks=benchmarks,
                settings=settings,
            )
        )
    return presets


def _used(setting: Setting, options: Mapping[str, Any]) -> Used:
    value = options.get(setting.name)
    asked = setting.value is not None and value != setting.value
    stated = setting.published != NOT_STATED
    words = [] if setting.name not in OPTIONS or (setting.value is None and value is None) else [str(value)]
    if not asked and setting.ours:
        words.append(setting.ours)
    return Used(
        name=setting.name,
        here="; ".join(words) or ("as published" if stated else "the default"),
        published=setting.published,
        source=setting.source,
        state="asked" if asked else "not stated" if not stated else "differs" if setting.ours else "same",
    )


def _settings(where: str, table: Mapping[str, Any]) -> list[Setting]:
    return [_setting(f"{where}: {name}", name, about) for name, about in table.items()]


def _setting(where: str, name: str, about: Any) -> Setting:
    about = {} if about is None else about
    allowed = {each.name for each in fields(Setting)} - {"name"}
    if not isinstance(about, dict) or set(about) - allowed:
        raise DataError(f"{where}: expected {{{', '.join(sorted(allowed))}}}")
    words = {key: value for key, value in about.items() if key != "value"}
    wrong = [key for key, value in words.items() if not isinstance(value, str) or not value]
    if wrong:
        raise DataError(f"{where}: {wrong[0]} must be words, not {words[wrong[0]]!r}; put them into quotes")
    if about.get("value") is not None and (name not in OPTIONS or not isinstance(about["value"], str | int | float)):
        raise DataError(f"{where}: only an option of llave eval has a value: {', '.join(OPTIONS)}")
    if ("published" in about) != ("source" in about):
        raise DataError(f"{where}: what was published and its source go together; leave both out where no source tells")
    return Setting(name=name, **about)
