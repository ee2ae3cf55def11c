"""Expressions as text to trees, macros included; by recursive descent along the grammar of the language definition."""

from __future__ import annotations

from collections.abc import Callable

from sparsam.objects.cel.conversion import KEYWORDS
from sparsam.objects.cel.errors import Issue
from sparsam.objects.cel.lexer import LexicalError, Token, tokens
from sparsam.objects.cel.tree import (
    Call,
    Comprehension,
    ListLiteral,
    Literal,
    MapLiteral,
    Name,
    Node,
    OptionalMap,
    Select,
    Struct,
    qualified,
)

MAX_DEPTH = 250
"""How deep parts may be nested; cel-go's limit."""
_STARTS = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)
_RELATIONS = ("<", "<=", ">=", ">", "==", "!=", "in")
_RESERVED = KEYWORDS
_KEYWORDS = frozenset(("in", "true", "false", "null"))
_CONSTANTS = {"true": True, "false": False, "null": None}
_FOLDS = {"all": "all", "exists": "exists", "exists_one": "existsOne", "existsOne": "existsOne"}
_TRANSFORMS = ("transformList", "transformMap", "transformMapEntry")
_LARGEST = 2**63


class _SyntaxError(Exception):
    def __init__(self, issue: Issue) -> None:
        self.issue = issue


def parse(text: str) -> Node | Issue:
    """The tree, or the first thing that is wrong with the text."""
    try:
        return _Parser(tokens(text)).whole()
    except (LexicalError, _SyntaxError) as fault:
        return fault.issue


class _Parser:
    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        tree = self._expression()
        if self._word.kind != "end":
            raise self._unexpected("<EOF>", "<EOF>")
        return tree

    @property
    def _word(self) -> Token:
        return self._words[self._at]

    def _next(self) -> Token:
        word = self._words[self._at]
        self._at += 1
        return word

    def _is(self, *texts: str) -> bool:
        word = self._word
        return word.kind in ("sign", "name") and word.text in texts

    def _accept(self, text: str) -> Token | None:
        return self._next() if self._is(text) else None

    def _expect(self, text: str) -> Token:
        if not self._is(text):
            if self._word.kind == "end" and text == ")":
                raise self._wrong(f"missing ')' at '{self._word.text}'")
            raise self._unexpected(f"'{text}'", text)
        return self._next()

    def _more(self, end: str) -> bool:
        """Whether another part follows; raises unless it or the end does."""
        if not self._is(",", end):
            raise self._unexpected(f"{{'{end}', ','}}", end, ",")
        return self._accept(",") is not None

    def _unexpected(self, shown: str, *wanted: str) -> _SyntaxError:
        """The word is one too many when the next one is what is wanted, else the wrong one; as ANTLR has it."""
        is_extra = self._word.kind != "end" and self._words[self._at + 1].text in wanted
        return self._wrong(f"{'extraneous' if is_extra else 'mismatched'} input '{self._word.text}' expecting {shown}")

    def _wrong(self, detail: str) -> _SyntaxError:
        return _SyntaxError(Issue(self._word.position, f"Syntax error: {detail}"))

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _SyntaxError(Issue(self._word.position, f"expression recursion limit exceeded: {MAX_DEPTH}"))
        first = self._disjunction()
        if mark := self._accept("?"):
            second = self._disjunction()
            self._expect(":")
            first = Call(mark.position, "_?_:_", None, [first, second, self._expression()])
        self._depth -= 1
        return first

    def _chain(self, part: Callable[[], Node], *signs: str) -> Node:
        tree = part()
        while self._is(*signs):
            sign = self._next()
            name = "@in" if sign.text == "in" else f"_{sign.text}_"
            tree = Call(sign.position, name, None, [tree, part()])
        return tree

    def _disjunction(self) -> Node:
        return self._chain(self._conjunction, "||")

    def _conjunction(self) -> Node:
        return self._chain(self._relation, "&&")

    def _relation(self) -> Node:
        return self._chain(self._sum, *_RELATIONS)

    def _sum(self) -> Node:
        return self._chain(self._product, "+", "-")

    def _product(self) -> Node:
        return self._chain(self._unary, "*", "/", "%")

    def _unary(self) -> Node:
        signs: list[Token] = []
        while self._is("!", "-"):
            if signs and signs[0].text != self._word.text:
                raise self._wrong(f"mismatched input '{self._word.text}' expecting {_STARTS}")
            signs.append(self._next())
        if signs and signs[-1].text == "-" and self._word.kind in ("int", "float"):
            tree = self._member(self._negative(signs.pop()))
        else:
            tree = self._member(self._primary())
        if len(signs) % 2:
            return Call(signs[0].position, "!_" if signs[0].text == "!" else "-_", None, [tree])
        return tree

    def _negative(self, sign: Token) -> Node:
        value = -self._next().value
        if isinstance(value, int) and value < -_LARGEST:
            raise _SyntaxError(Issue(sign.position, "invalid int literal"))
        return Literal(sign.position, value)

    def _member(self, tree: Node) -> Node:
        while True:
            if dot := self._accept("."):
                tree = self._selection(tree, dot)
            elif bracket := self._accept("["):
                optional = self._accept("?") is not None
                index = self._expression()
                self._expect("]")
                tree = Call(bracket.position, "_[?_]" if optional else "_[_]", None, [tree, index])
            elif self._is("{") and (name := qualified(tree)):
                tree = self._struct(name)
            else:
                return tree

    def _selection(self, tree: Node, dot: Token) -> Node:
        optional = self._accept("?") is not None
        word = self._word
        if word.kind != "name" or word.text in _KEYWORDS:
            raise self._wrong(_mismatch(word))
        self._next()
        if not optional and (bracket := self._accept("(")):
            return self._method(tree, word, bracket, self._list(")"))
        return Select(dot.position, tree, word.text, optional)

    def _list(self, end: str) -> list[Node]:
        found: list[Node] = []
        while not self._is(end):
            found.append(self._expression())
            if not self._accept(","):
                break
        self._expect(end)
        return found

    def _primary(self) -> Node:
        word = self._word
        if word.kind == "name" and word.text not in ("in",):
            return self._name(self._next(), "")
        if word.kind in ("int", "uint", "float", "text"):
            self._next()
            if word.kind in ("int", "uint") and word.value >= _LARGEST * (1 if word.kind == "int" else 2):
                raise _SyntaxError(Issue(word.position, f"invalid {word.kind} literal"))
            return Literal(word.position, word.value)
        if self._accept("("):
            tree = self._expression()
            self._expect(")")
            return tree
        if self._accept("["):
            return ListLiteral(word.position, self._elements())
        if self._accept("{"):
            return MapLiteral(word.position, self._entries())
        if self._accept(".") and self._word.kind == "name":
            return self._name(self._next(), ".")
        raise self._wrong(f"mismatched input '{word.text}' expecting {_STARTS}")

    def _name(self, word: Token, prefix: str) -> Node:
        if word.text in _CONSTANTS and not prefix:
            return Literal(word.position, _CONSTANTS[word.text])
        if word.text in _RESERVED:
            raise _SyntaxError(Issue(word.position, f"reserved identifier: {word.text}"))
        if bracket := self._accept("("):
            arguments = self._list(")")
            if word.text == "has" and not prefix:
                return _presence(arguments, bracket)
            return Call(bracket.position, word.text, None, arguments)
        return Name(word.position, prefix + word.text)

    def _elements(self) -> list[tuple[Node, bool]]:
        found: list[tuple[Node, bool]] = []
        while not self._is("]"):
            optional = self._accept("?") is not None
            found.append((self._expression(), optional))
            if not self._more("]"):
                break
        self._expect("]")
        return found

    def _entries(self) -> list[tuple[Node, Node, bool]]:
        found: list[tuple[Node, Node, bool]] = []
        while not self._is("}"):
            optional = self._accept("?") is not None
            key = self._expression()
            self._expect(":")
            found.append((key, self._expression(), optional))
            if not self._more("}"):
                break
        self._expect("}")
        return found

    def _struct(self, name: str) -> Node:
        brace = self._expect("{")
        fields: list[tuple[int, str, Node, bool]] = []
        while not self._is("}"):
            optional = self._accept("?") is not None
            word = self._word
            if word.kind != "name" or word.text in _KEYWORDS:
                raise self._wrong(_mismatch(word))
            self._next()
            colon = self._expect(":")
            fields.append((colon.position, word.text, self._expression(), optional))
            if not self._more("}"):
                break
        self._expect("}")
        return Struct(brace.position, name, fields)

    def _method(self, target: Node, word: Token, bracket: Token, arguments: list[Node]) -> Node:
        name, count = word.text, len(arguments)
        if name in _FOLDS and count in (2, 3):
            variables = _variables(arguments[:-1])
            return Comprehension(bracket.position, _FOLDS[name], target, variables, None, arguments[-1])
        if name in ("map", "filter") and count in (2, 3) and (name == "map" or count == 2):
            condition = arguments[1] if count == 3 else None
            return Comprehension(bracket.position, name, target, _variables(arguments[:1]), condition, arguments[-1])
        if name in _TRANSFORMS and count in (3, 4):
            condition = arguments[2] if count == 4 else None
            return Comprehension(bracket.position, name, target, _variables(arguments[:2]), condition, arguments[-1])
        if name in ("optMap", "optFlatMap") and count == 2:
            (variable,) = _variables(arguments[:1])
            return OptionalMap(bracket.position, target, variable, arguments[1], name == "optFlatMap")
        return Call(bracket.position, name, target, arguments)


def _mismatch(word: Token) -> str:
    return f"mismatched input '{word.text}' expecting IDENTIFIER"


def _presence(arguments: list[Node], bracket: Token) -> Node:
    if len(arguments) == 1 and isinstance(arguments[0], Select) and not arguments[0].optional:
        asked = arguments[0]
        return Select(bracket.position, asked.operand, asked.key, test_only=True)
    where = arguments[0].position if arguments else bracket.position
    raise _SyntaxError(Issue(where, "invalid argument to has() macro"))


def _variables(arguments: list[Node]) -> tuple[str, ...]:
    for each in arguments:
        if not isinstance(each, Name) or each.name.startswith("."):
            raise _SyntaxError(Issue(each.position, "argument must be a simple name"))
    names = tuple(each.name for each in arguments if isinstance(each, Name))
    if len(set(names)) < len(names):
        detail = f"duplicate variable name: {names[0]}"
        raise _SyntaxError(Issue(arguments[1].position, detail))
    return names
