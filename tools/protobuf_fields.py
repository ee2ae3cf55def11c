"""Read the protobuf field numbers of Kubernetes' built-in types out of a kubectl binary.

Typed Go clients (such as `kubectl create configmap`) send protobuf. Its field numbers stand in struct tags, which
every Go binary carries in its type information: a table of facts that is exact for the release of the binary.

    python tools/protobuf_fields.py KUBECTL > src/sparsam/apiserver/protobuf_fields.json

Output: {"kinds": {"apps/v1 Deployment": type}, "types": [[[number, json name, code], ...], ...]}. Codes: s string,
b bool, i integer, f float, y bytes, T time, M microsecond time, Q quantity, I int-or-string, R raw JSON,
a number: message of that type; before it `*` optional, `[` repeated, `{` map from string. An empty JSON name
stands for fields that lie in their parent.
"""

import json
import re
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path

BOOL, FLOAT32, FLOAT64, MAP, POINTER, SLICE, STRING, STRUCT, BYTE = 1, 13, 14, 21, 22, 23, 24, 25, 8
INTEGERS = range(2, 12)
SPECIAL = {
    "k8s.io/apimachinery/pkg/apis/meta/v1.Time": "T",
    "k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime": "M",
    "k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1": "R",
    "k8s.io/apimachinery/pkg/api/resource.Quantity": "Q",
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "I",
    "k8s.io/apimachinery/pkg/runtime.RawExtension": "R",
}
GROUPS = {
    "core": "",
    "rbac": "rbac.authorization.k8s.io",
    "admissionregistration": "admissionregistration.k8s.io",
    "flowcontrol": "flowcontrol.apiserver.k8s.io",
}
PLAIN_GROUPS = ("apps", "autoscaling", "batch", "policy")
TAG = re.compile(r'protobuf:"[a-z0-9]+,(\d+)')
JSON_TAG = re.compile(r'json:"([^"]*)"')


@dataclass
class GoType:
    """One type of the binary: its Go kind, name, element and, of a struct, (name, tag, type) of each field."""

    kind: int
    name: str = ""
    elem: int = 0
    fields: list[tuple[str, str, int]] = field(default_factory=list)


class Binary:
    """The type information of an ELF file of Go 1.26's layout."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sections = self._read_sections()
        self.types: dict[int, GoType] = {}
        self.base = self.sections[".rodata"][0]

    def _read_sections(self) -> dict[str, tuple[int, int, int]]:
        start = self._unpack("<Q", 0x28)
        size, count, names = struct.unpack_from("<HHH", self.data, 0x3A)
        headers = [struct.unpack_from("<IIQQQQ", self.data, start + index * size) for index in range(count)]
        texts = headers[names][4]
        found = {}
        for header in headers:
            end = self.data.index(b"\0", texts + header[0])
            found[self.data[texts + header[0] : end].decode()] = (header[3], header[4], header[5])
        return found

    def _unpack(self, form: str, offset: int) -> int:
        return int(struct.unpack_from(form, self.data, offset)[0])

    def _offset(self, address: int) -> int:
        for name, (start, offset, size) in self.sections.items():
            if start and start <= address < start + size and not name.endswith("bss"):
                return offset + address - start
        raise ValueError(f"no section holds {address:#x}")

    def _pointer(self, address: int) -> int:
        return self._unpack("<Q", self._offset(address))

    def _name(self, address: int) -> tuple[str, str]:
        offset = self._offset(address)
        flags, offset = self.data[offset], offset + 1
        text, offset = self._text(offset)
        return text, self._text(offset)[0] if flags & 2 else ""

    def _text(self, offset: int) -> tuple[str, int]:
        length = shift = 0
        while True:
            byte, offset = self.data[offset], offset + 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return self.data[offset : offset + length].decode("utf-8", "replace"), offset + length

    def type_at(self, address: int) -> GoType:
        if address not in self.types:
            self.types[address] = self._read_type(address)
        return self.types[address]

    def _read_type(self, address: int) -> GoType:
        offset = self._offset(address)
        flags, kind = self.data[offset + 20], self.data[offset + 23] & 31
        name = self._name(self.base + self._unpack("<i", offset + 40))[0]
        found = GoType(kind, name.removeprefix("*") if flags & 2 else name)
        if kind in (POINTER, SLICE):
            found.elem = self._pointer(address + 48)
        elif kind == MAP:
            found.elem = self._pointer(address + 56)
        elif kind == STRUCT:
            first, count = self._pointer(address + 56), self._pointer(address + 64)
            for index in range(count):
                at = first + 24 * index
                found.fields.append((*self._name(self._pointer(at)), self._pointer(at + 8)))
        if flags & 1 and kind in (STRUCT, SLICE):
            package = self._unpack("<i", self._offset(address + (80 if kind == STRUCT else 56)))
            base_name = found.name.rpartition(".")[2]
            found.name = f"{self._name(self.base + package)[0]}.{base_name}" if package else found.name
        return found

    def roots(self) -> list[int]:
        """Every type that the binary lists, and what those refer to."""
        _, offset, size = self.sections[".typelink"]
        pending = [self.base + link for link in struct.unpack_from(f"<{size // 4}i", self.data, offset)]
        seen: set[int] = set()
        while pending:
            address = pending.pop()
            if address in seen or not address:
                continue
            seen.add(address)
            try:
                found = self.type_at(address)
            except (ValueError, struct.error):
                continue
            pending += [found.elem, *(each[2] for each in found.fields)]
        return [address for address in seen if address in self.types]


class Table:
    """Collects message types as they are referred to."""

    def __init__(self, binary: Binary) -> None:
        self.binary = binary
        self.numbers: dict[str, int] = {}
        self.types: list[list[tuple[int, str, str]]] = []

    def message(self, found: GoType) -> int:
        if found.name not in self.numbers:
            self.numbers[found.name] = len(self.types)
            self.types.append([])
            self.types[self.numbers[found.name]] = [
                (int(number[1]), self._json_name(tag), self._code(address, tag))
                for _, tag, address in found.fields
                if (number := TAG.search(tag))
            ]
        return self.numbers[found.name]

    def _json_name(self, tag: str) -> str:
        match = JSON_TAG.search(tag)
        return match[1].split(",")[0] if match else ""

    def _code(self, address: int, tag: str) -> str:
        found = self.binary.type_at(address)
        # What Go's JSON leaves out when empty counts as optional here too.
        omitted = "*" if "omitempty" in tag or "omitzero" in tag else ""
        if found.kind == POINTER:
            return "+" + self._code(found.elem, "")
        if found.kind == MAP:
            return "{" + self._code(found.elem, "")
        if found.kind == SLICE and found.name.startswith("k8s.io/"):
            return self._wrapped_slice(found)
        if found.kind == SLICE:
            elem = self.binary.type_at(found.elem)
            return omitted + "y" if elem.kind == BYTE else "[" + self._code(found.elem, "")
        return omitted + self._plain(found)

    def _wrapped_slice(self, found: GoType) -> str:
        """A named slice is a message with one repeated field, except that a field of that type is plain."""
        return "[" + self._code(found.elem, "") + "!"

    def _plain(self, found: GoType) -> str:
        if found.name in SPECIAL:
            return SPECIAL[found.name]
        if found.kind == STRUCT:
            return str(self.message(found))
        if found.kind == STRING:
            return "s"
        if found.kind == BOOL:
            return "b"
        if found.kind in INTEGERS:
            return "i"
        if found.kind in (FLOAT32, FLOAT64):
            return "f"
        raise ValueError(f"no code for {found}")


def api_version(name: str) -> str | None:
    """The API version of a Go type of k8s.io/api; None of any other."""
    match = re.fullmatch(r"k8s\.io/api/([a-z]+)/(v[0-9]+)\.(\w+)", name)
    if not match:
        return None
    group, version = match[1], match[2]
    if group not in GROUPS and group not in PLAIN_GROUPS:
        return f"{group}.k8s.io/{version}"
    group = GROUPS.get(group, group)
    return f"{group}/{version}" if group else version


def main() -> None:
    """Print the table of the binary that the command line names."""
    binary = Binary(Path(sys.argv[1]).read_bytes())
    table = Table(binary)
    kinds: dict[str, int] = {}
    for address in binary.roots():
        found = binary.types[address]
        version = api_version(found.name)
        if found.kind == STRUCT and version and any(name == "ObjectMeta" for name, _, _ in found.fields):
            kinds[f"{version} {found.name.rpartition('.')[2]}"] = address
        if found.name == "k8s.io/apimachinery/pkg/apis/meta/v1.DeleteOptions" and found.kind == STRUCT:
            kinds["v1 DeleteOptions"] = address
    listed = {kind: table.message(binary.types[kinds[kind]]) for kind in sorted(kinds)}
    rows = ",\n".join(json.dumps(each, separators=(",", ":")) for each in table.types)
    sys.stdout.write(f'{{"kinds":{json.dumps(listed, separators=(",", ":"))},\n"types":[\n{rows}\n]}}\n')


if __name__ == "__main__":
    main()
