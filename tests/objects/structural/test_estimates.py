"""What rules may cost at most: the figures of a Kubernetes API server for the same rules and schemas."""

import pytest

from sparsam.objects import cel
from sparsam.objects.cel.schemas import of_schema
from sparsam.objects.structural.bounds import bound_of, cardinality
from sparsam.objects.structural.estimates import RULE_LIMIT, estimate, excess

FORMATS = {"duration", "date", "date-time", "byte"}
MORE = {"array": "maxItems", "object": "maxProperties", "string": "maxLength"}


def one(kind):
    if kind == "int-or-string":
        return {"x-kubernetes-int-or-string": True}
    return {"type": "string", "format": kind} if kind in FORMATS else {"type": kind}


def text(most=None, **more):
    return {"type": "string"} | ({} if most is None else {"maxLength": most}) | more


def array(items, most=None):
    return {"type": "array", "items": items} | ({} if most is None else {"maxItems": most})


def mapping(values, most=None):
    return {"type": "object", "additionalProperties": values} | ({} if most is None else {"maxProperties": most})


def thing(**fields):
    return {"type": "object", "properties": {"required": text(), "optional": text()} | fields, "required": ["required"]}


def cost(schema, rule):
    kind = of_schema(schema)
    return estimate(cel.compile_expression(rule, {"self": kind, "oldSelf": kind}).tree, bound_of(schema))


ALL = "self.all(x, true)"


@pytest.mark.parametrize(
    ("kind", "unbounded", "most", "bounded"),
    [
        ("number", 4718591, 10, 32),
        ("string", 3145727, 20, 62),
        ("boolean", 1887437, 5, 17),
        ("int-or-string", 4718591, 10, 32),
        ("duration", 2359295, 5, 17),
        ("date", 725936, 15, 47),
        ("date-time", 428963, 25, 77),
    ],
)
def test_a_list_is_as_long_as_a_request_allows(kind, unbounded, most, bounded):
    assert cost(array(one(kind)), ALL) == unbounded
    assert cost(array(one(kind), most), ALL) == bounded


@pytest.mark.parametrize(
    ("values", "unbounded"),
    [
        (one("number"), 1348169),
        (one("string"), 1179647),
        (one("boolean"), 943718),
        (one("int-or-string"), 1348169),
        (one("duration"), 1048577),
        (one("date"), 524288),
        (one("date-time"), 349526),
        (thing(), 428963),
        (mapping(one("number")), 1179647),
        (array(one("number")), 1179647),
    ],
)
def test_a_map_has_as_many_entries_as_a_request_allows(values, unbounded):
    assert cost(mapping(values), ALL) == unbounded
    assert cost(mapping(values, 10), ALL) == 32


@pytest.mark.parametrize(
    ("schema", "rule", "expected"),
    [
        (array(array(one("number"))), ALL, 3145727),
        (array(thing()), ALL, 555128),
        (text(), "self.contains('test')", 314574),
        (text(10), "self.contains('test')", 5),
        (text(), "self.startsWith('test')", 2),
        (text(), "self.endsWith('test')", 2),
        (text(), 'size(self + "hello") > size("hello")', 314578),
        (text(4), 'size(self + "hello") > size("hello")', 7),
        (array(one("number")), "self[1] == 0.0", 2),
        (array(one("string")), "self[1] == self[1]", 314577),
        (array(one("string"), 8), "self[1] == self[1]", 314577),
        (array(one("number"), 10), "self.all(x, self.all(y, true))", 352),
        (array(one("number"), 10), "self.all(x, self.all(y, self.all(z, true)))", 3552),
        (text(), 'self.matches("x")', 314574),
        (text(50), 'self.matches("x")', 22),
        (text(), '"".matches("(((((((((())))))))))[0-9]")', 7),
        (text(), 'self.matches("")', 1),
        (mapping(text()), "self.all(x, x.contains(self[x]))", 2752507),
        (mapping(text(), 10), "self.all(x, x.contains(self[x]))", 72),
        (mapping(one("number"), 0), 'self["x"] == 0.0', 2),
        (text(), 'self == "x"', 2),
        (text(0), 'self == "x"', 1),
        (one("byte"), 'self == b"x"', 2),
        (array(one("number")), "self.all(x, x == 0.0)", 6291454),
        (array(one("number"), 3 * 1024 * 2048), "self.all(x, x == 0.0)", 25165826),
        (array(mapping(thing())), 'self.all(x, x["y"].required == "z")', 7340027),
        (array(mapping(thing()), 10), 'self.all(x, x["y"].required == "z")', 72),
        (array(one("int-or-string")), "self[0] == 5", 3),
        (array(one("boolean")), "self[0] == false", 2),
        (array(thing()), "self[0] == null", 2),
        (array(array(one("number"))), "self[0][0] == -1.0", 3),
        (array(mapping(one("number"))), "self.all(x, x.y == 25.2)", 6291452),
        (array(mapping(one("number"))), "self[0].x > 2.0", 4),
        (array(one("duration")), "self[0].getHours() == 2", 4),
        (array(one("date")), "self[2].getDayOfMonth() == 13", 4),
        (text(), "self.find('[0-9]+') == ''", 629147),
        (text(10), "self.find('[0-9]+') == ''", 11),
        (array(text()), "self.join(' ') == 'aa bb'", 329853068905),
        (array(text(10), 10), "self.join(' ') == 'aa bb'", 43),
        (array(text()), "self.isSorted() == true", 329854432052),
        (array(text(10), 10), "self.isSorted() == true", 52),
        (thing(str=text(), before=text(2), after=text(4)),
         "self.str.replace(self.before, self.after) == 'does not matter'", 629154),
        (thing(str=text(4), before=text(2), after=text(4)),
         "self.str.replace(self.before, self.after) == 'does not matter'", 12),
        (thing(str=text(), separator=text()), "self.str.split(self.separator) == []", 629160),
        (thing(str=text(10), separator=text(10)), "self.str.split(self.separator) == []", 22),
        (text(), "self.lowerAscii() == 'lower!'", 314575),
        (text(10), "self.lowerAscii() == 'lower!'", 6),
        (mapping(one("integer")), "oldSelf.size() == self.size()", 5),
        (mapping(one("date-time")), 'self["a"] == self["b"]', 8),
        (mapping(one("duration")), 'self["c"] == self["d"]', 8),
        (text(enum=["A", "B", "C", "LongValue"]), "self.contains('A')", 2),
        (text(1000, enum=["A", "B", "C", "LongValue"]), "self.contains('A')", 401),
    ],
)  # fmt: skip
def test_a_rule_costs_what_it_costs_upstream(schema, rule, expected):
    assert cost(schema, rule) == expected


@pytest.mark.parametrize(
    "rule",
    [
        "self.l.map(x, x + 1).filter(x, x > 2).size() > 0 ? true : self.l.exists(x, x == 1)",
        "self.l.exists_one(x, x == 1) && {'a': 1}.size() == 1",
        "self.?o.optMap(x, x + 'a').orValue('') == 'a'",
        "[1, 2].sum() == 3 && sets.contains(self.l, [1])",
        "string(b'abc') == 'abc' && bytes('abc').size() == 3",
        "dyn(self.l) == [1] && url('https://a/b').getHost() == 'a'",
        "1 in self.l && '%s'.format(['a']) == 'a'",
    ],
)
def test_every_form_of_expression_has_a_cost(rule):
    schema = thing(l=array(one("integer"), 10), o=text(5))
    assert 0 < cost(schema, rule) < RULE_LIMIT


@pytest.mark.parametrize(
    "rule",
    [
        "self.m.a == self.m.b",
        "type(self.i) == int",
        "type(self.i) == google.protobuf.Timestamp",
        "self.d.a == self.d.b",
    ],
)
def test_values_of_fixed_size_are_cheap_wherever_they_come_from(rule):
    schema = thing(i=one("int-or-string"), m=mapping(one("integer")), d=mapping(one("date-time")))
    assert cost(schema, rule) < 10


def test_loops_within_loops_are_too_much():
    assert cost(array(one("number")), "self.all(x, self.all(y, true))") > RULE_LIMIT


def test_how_many_values_there_are_is_the_limits_product():
    assert cardinality(array(text())) is None
    assert cardinality(array(text(), 5)) == 5
    assert cardinality(mapping(text(), 7)) == 7
    assert cardinality(thing()) == cardinality(text()) == 1


@pytest.mark.parametrize(
    ("costs", "factor"),
    [(RULE_LIMIT * 101, "more than 100x"), (RULE_LIMIT * 4 // 3, "1.333333x"), (RULE_LIMIT * 5, "5.0x")],
)
def test_what_is_too_much_is_told_by_its_factor(costs, factor):
    assert excess("estimated rule cost", costs, RULE_LIMIT).startswith(
        f"estimated rule cost exceeds budget by factor of {factor} ("
    )
