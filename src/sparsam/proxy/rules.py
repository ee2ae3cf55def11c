"""The part of nftables that the proxy speaks, as values.

Every statement gives its text as nft reads it in a table of the family `ip` or `ip6`. That keeps the ruleset
comparable, and lets a test walk a packet through it without a kernel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

MASQUERADE_MARK = 0x4000


class Field(StrEnum):
    """What of a packet is compared."""

    SOURCE = "saddr"
    DESTINATION = "daddr"
    PROTOCOL = "meta l4proto"
    DESTINATION_PORT = "th dport"
    DESTINATION_TYPE = "fib daddr type"
    SOURCE_TYPE = "fib saddr type"
    STATUS = "ct status"
    STATE = "ct state"


_ADDRESSES = frozenset({Field.SOURCE, Field.DESTINATION})


@dataclass(frozen=True, slots=True)
class Match:
    """The rule goes on only if `field` equals `value` (or does not); `@name` is a set, several fields a tuple."""

    field: Field | tuple[Field, ...]
    value: str
    negated: bool = False

    def text(self, ip: str) -> str:
        """As nft reads it."""
        return f"{_fields(self.field, ip)} {'!= ' if self.negated else ''}{self.value}"


@dataclass(frozen=True, slots=True)
class Marked:
    """The rule goes on only if the packet carries the masquerade mark, which is then taken off."""

    def text(self, ip: str) -> str:
        """As nft reads it."""
        mark = f"{MASQUERADE_MARK:#x}"
        return f"meta mark & {mark} == {mark} meta mark set meta mark & {0xFFFFFFFF ^ MASQUERADE_MARK:#x}"


@dataclass(frozen=True, slots=True)
class Mark:
    """Have the packet masqueraded when it leaves."""

    def text(self, ip: str) -> str:
        """As nft reads it."""
        return f"meta mark set meta mark | {MASQUERADE_MARK:#x}"


@dataclass(frozen=True, slots=True)
class Jump:
    """Go through another chain and come back."""

    chain: str

    def text(self, ip: str) -> str:
        """As nft reads it."""
        return f"jump {self.chain}"


@dataclass(frozen=True, slots=True)
class Goto:
    """Go on in another chain for good."""

    chain: str

    def text(self, ip: str) -> str:
        """As nft reads it."""
        return f"goto {self.chain}"


@dataclass(frozen=True, slots=True)
class Drop:
    """Lose the packet silently."""

    def text(self, ip: str) -> str:
        """As nft reads it."""
        return "drop"


@dataclass(frozen=True, slots=True)
class Return:
    """Leave the chain."""

    def text(self, ip: str) -> str:
        """As nft reads it."""
        return "return"


@dataclass(frozen=True, slots=True)
class Reject:
    """Tell the sender that nobody is there."""

    how: str = ""

    def text(self, ip: str) -> str:
        """As nft reads it."""
        return f"reject with {self.how}" if self.how else "reject"


@dataclass(frozen=True, slots=True)
class Lookup:
    """Take the verdict that a map holds for these fields, if it holds one."""

    fields: tuple[Field, ...]
    map_name: str

    def text(self, ip: str) -> str:
        """As nft reads it."""
        return f"{_fields(self.fields, ip)} vmap @{self.map_name}"


@dataclass(frozen=True, slots=True)
class Recall:
    """Put the number that a map remembers for the sender into the connection's mark; else the rule ends."""

    map_name: str

    def text(self, ip: str) -> str:
        """As nft reads it."""
        return f"ct mark set {ip} saddr map @{self.map_name}"


@dataclass(frozen=True, slots=True)
class Remember:
    """Put the sender with the connection's mark into a map; one that is there keeps its number and starts anew."""

    map_name: str

    def text(self, ip: str) -> str:
        """As nft reads it."""
        return f"update @{self.map_name} {{ {ip} saddr : ct mark }}"


@dataclass(frozen=True, slots=True)
class Forget:
    """Take the sender out of a map."""

    map_name: str

    def text(self, ip: str) -> str:
        """As nft reads it; the mark plays no part."""
        return f"delete @{self.map_name} {{ {ip} saddr : ct mark }}"


@dataclass(frozen=True, slots=True)
class Choose:
    """Put one of these numbers into the connection's mark, each as likely as any other."""

    marks: tuple[int, ...]

    def text(self, ip: str) -> str:
        """As nft reads it."""
        if len(self.marks) == 1:
            return f"ct mark set {self.marks[0]:#x}"
        choices = ", ".join(f"{number} : {mark:#x}" for number, mark in enumerate(self.marks))
        return f"ct mark set numgen random mod {len(self.marks)} map {{ {choices} }}"


@dataclass(frozen=True, slots=True)
class SendByMark:
    """Send the connection to the address and port that its mark stands for; else the rule ends."""

    targets: tuple[tuple[int, str, int], ...]

    def text(self, ip: str) -> str:
        """As nft reads it."""
        targets = ", ".join(f"{mark:#x} : {address} . {port}" for mark, address, port in self.targets)
        return f"dnat {ip} addr . port to ct mark map {{ {targets} }}"


@dataclass(frozen=True, slots=True)
class Balance:
    """Send the connection to one of these addresses and ports, each as likely as any other."""

    targets: tuple[tuple[str, int], ...]

    def text(self, ip: str) -> str:
        """As nft reads it."""
        if len(self.targets) == 1:
            address, port = self.targets[0]
            return f"dnat to [{address}]:{port}" if ip == "ip6" else f"dnat to {address}:{port}"
        targets = ", ".join(f"{number} : {address} . {port}" for number, (address, port) in enumerate(self.targets))
        return f"dnat {ip} addr . port to numgen random mod {len(self.targets)} map {{ {targets} }}"


@dataclass(frozen=True, slots=True)
class Masquerade:
    """Replace the sender's address by that of the outgoing link."""

    def text(self, ip: str) -> str:
        """As nft reads it."""
        return "masquerade fully-random"


Statement = (
    Match
    | Marked
    | Mark
    | Jump
    | Goto
    | Drop
    | Return
    | Reject
    | Lookup
    | Recall
    | Remember
    | Forget
    | Choose
    | SendByMark
    | Balance
    | Masquerade
)
Rule = tuple[Statement, ...]
Verdict = Goto | Drop


@dataclass(frozen=True, slots=True)
class Hook:
    """Where the kernel enters a base chain."""

    kind: str
    hook: str
    priority: int

    def __str__(self) -> str:
        """As nft reads it."""
        return f"{{ type {self.kind} hook {self.hook} priority {self.priority}; policy accept; }}"


@dataclass(frozen=True, slots=True, order=True)
class Element:
    """A key of a named set or map."""

    container: str
    key: str


def format_rule(rule: Iterable[Statement], ip: str) -> str:
    """One rule as nft reads it in a table of family `ip` or `ip6`."""
    return " ".join(statement.text(ip) for statement in rule)


def _fields(fields: Field | tuple[Field, ...], ip: str) -> str:
    every = (fields,) if isinstance(fields, Field) else fields
    return " . ".join(f"{ip} {each}" if each in _ADDRESSES else each for each in every)
