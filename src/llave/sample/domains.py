"""The domains by their names on the command line. A third is one more file like these two, and a line here."""

from llave.sample.domain import Domain
from llave.sample.emoji import EMOJI
from llave.sample.icons import ICONS

__all__ = ["DOMAINS"]

DOMAINS: dict[str, Domain] = {domain.key: domain for domain in (EMOJI, ICONS)}
