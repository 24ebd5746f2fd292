"""``llave eval presets``."""

import json
import sys
from dataclasses import asdict, dataclass

from llave.cli.parsing import parse

__all__ = ["PresetsConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class PresetsConfig:
    """Presets.

    Args:
        name: of a preset, whose settings are to be shown; null lists all.
        benchmark: whose own settings are added; null is the preset's first.
        json: print JSON instead of tables.
    """

    name: str | None = None
    benchmark: str | None = None
    json: bool = False


def run(argv: list[str]) -> int:
    """Print the presets, or the settings of one."""
    config = parse(
        PresetsConfig,
        argv,
        command="eval presets",
        description="Settings that published scores used, and who says so. Example: llave eval presets vlm2vec-v2-2b",
        positional=("name",),
    )
    from rich.console import Console

    from llave.evaluation.presets import get_preset, preset_names
    from llave.report.presets import about_preset, preset_list, settings_table

    if config.name is None:
        presets = [get_preset(name) for name in preset_names()]
        if config.json:
            found = [{"name": p.name, "model": p.model, "benchmarks": list(p.benchmarks)} for p in presets]
            sys.stdout.write(json.dumps(found, indent=2) + "\n")
        else:
            Console().print(preset_list(presets))
        return 0
    preset = get_preset(config.name)
    benchmark = config.benchmark or next(iter(preset.benchmarks), "")
    preset = preset.on(benchmark)
    if config.json:
        settings = [asdict(setting) for setting in preset.settings]
        sys.stdout.write(json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
    else:
        Console().print(settings_table(about_preset(preset, benchmark, preset.options)))
    return 0
