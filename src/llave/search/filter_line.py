"""A filter in a line, as people write it: ``artist = noto and not (year < 2000 or folder starts "drafts/")``.

    filter    = all ("or" all)*
    all       = one ("and" one)*
    one       = "not" one | "(" filter ")" | FIELD comparison
    comparison = ("=" | "!=" | "<" | "<=" | ">" | ">=") VALUE | "is" ["not"] "null"
               | ["not"] ("like" | "ilike" | "starts") VALUE | ["not"] "in" "(" VALUE ("," VALUE)* ")"
               | "between" VALUE "and" VALUE

A field or value of several words, or one that is a word of this language, stands in quotes; a field also in backticks.
"""

import re

from llave.errors import UserError
from llave.search.filters import EVERYTHING, And, Bounds, Filter, Not, Or

__all__ = ["parse_line"]

TOKEN = re.compile(
    r"""\s*(?:(<=|>=|!=|<>|==|=|<|>|\(|\)|,)|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|`([^`]*)`|([^\s()<>=!,"'`]+))""",
    re.DOTALL,
)
ESCAPED = re.compile(r"""\\(["'\\])""")
SYMBOLS = {"<>": "!=", "==": "="}
COMPARISONS = {"=", "!=", "<", "<=", ">", ">="}
WORDS = {"like", "ilike", "starts"}


class _Quoted(str):
    """What stood in quotes: never a word of the language."""


class _Symbol(str):
    """A sign."""


def parse_line(text: str, bounds: Bounds, depth: int) -> Filter:
    """The tree of a line; an empty one lets everything pass.

    Args:
        bounds: of the filter that it is, or is a part of.
        depth: where it stands in that.

    Raises:
        UserError: it cannot be read.
    """
    return _Line(text, bounds).filter(depth)


class _Line:
    def __init__(self, text: str, bounds: Bounds) -> None:
        self._bounds = bounds
        self._tokens = self._read(text.rstrip())
        self._place = 0

    def filter(self, depth: int) -> Filter:
        if not self._tokens:
            return EVERYTHING
        found = self._any(depth)
        if self._place < len(self._tokens):
            raise self._bad(f"conditions are joined by `and` or `or`, and {self._tokens[self._place]!r:.40} is neither")
        return found

    def _any(self, depth: int) -> Filter:
        parts = [self._all(depth)]
        while self._take("or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self, depth: int) -> Filter:
        parts = [self._one(depth)]
        while self._take("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self, depth: int) -> Filter:
        if self._take("not"):
            return Not(self._one(self._bounds.deeper(depth)))
        if self._take("("):
            found = self._any(self._bounds.deeper(depth))
            self._expect(")", "a bracket is not closed")
            return found
        return self._comparison(self._word("a condition is: field = value"))

    def _comparison(self, field: str) -> Filter:
        if self._take("is"):
            negated = self._take("not")
            self._expect("null", "write: field is null, or: field is not null")
            return self._bounds.condition(field, "!=" if negated else "=", None)
        if self._take("between"):
            low = self._value()
            self._expect("and", "write: field between LOW and HIGH")
            ends = {">=": low, "<=": self._value()}
            return And(tuple(self._bounds.condition(field, op, value) for op, value in ends.items()))
        negation = "not " if self._take("not") else ""
        if self._take("in"):
            return self._bounds.condition(field, f"{negation}in", self._values())
        for word in WORDS:
            if self._take(word):
                self._take("with")  # starts with
                return self._bounds.condition(field, f"{negation}{word}", self._value())
        token = self._next("a condition is: field = value")
        if negation or not isinstance(token, _Symbol) or token not in COMPARISONS:
            raise self._bad(
                f"no operator {token!r:.40} after {field!r}; there are: {', '.join(sorted(COMPARISONS))}, "
                f"in, like, ilike, starts, between, is null"
            )
        return self._bounds.condition(field, token, self._value())

    def _values(self) -> list[str]:
        self._expect("(", "write: field in (a, b)")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._expect(")", "values in brackets are separated by commas; quote those of several words")
        return values

    def _value(self) -> str:
        return self._word("a value was expected")

    def _word(self, why: str) -> str:
        token = self._next(why)
        if isinstance(token, _Symbol):
            raise self._bad(f"{why}, not {token!r}")
        return str(token)

    def _next(self, why: str) -> str:
        if self._place == len(self._tokens):
            raise self._bad(why)
        self._place += 1
        return self._tokens[self._place - 1]

    def _take(self, word: str) -> bool:
        """Whether this word of the language comes next, which is then behind us."""
        there = self._place < len(self._tokens)
        if not there or isinstance(self._tokens[self._place], _Quoted) or self._tokens[self._place].lower() != word:
            return False
        self._place += 1
        return True

    def _expect(self, word: str, why: str) -> None:
        if not self._take(word):
            raise self._bad(why)

    def _read(self, text: str) -> list[str]:
        tokens: list[str] = []
        position = 0
        while position < len(text):
            match = TOKEN.match(text, position)
            if match is None:
                raise self._bad(f"cannot read {text[position : position + 20].strip()!r}")
            symbol, double, single, name, word = match.groups()
            quoted = double if double is not None else single
            if quoted is not None:
                tokens.append(_Quoted(ESCAPED.sub(r"\1", quoted)))
            elif name is not None:
                tokens.append(_Quoted(name))
            else:
                tokens.append(word or _Symbol(SYMBOLS.get(symbol, symbol)))
            position = match.end()
        return tokens

    def _bad(self, why: str) -> UserError:
        return self._bounds.bad(why)
