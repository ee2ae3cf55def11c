"""Google's CEL, which upstream's language is defined by, judges ours: the same values, and errors where it has errors."""

import datetime
from functools import cache

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sparsam.objects.cel import DYN, CelError, EvaluationError, compile_expression
from sparsam.objects.cel.values import Duration, Optional, Timestamp

GOOGLE = cel.NewEnv(
    variables={"object": cel.Type.DYN}, extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()]
)
OBJECT = {"i": 3, "d": 1.5, "s": "abc", "b": True, "n": None, "l": [1, 2, 3], "m": {"a": 1, "b": "x"}, "e": []}

LEAVES = {
    "int": ["0", "1", "-2", "7", "9223372036854775807", "object.i", "size(object.l)", "size('abc')", "object.m.a"],
    "double": ["0.0", "1.5", "-2.25", "1e3", "object.d", "double(2)"],
    "string": ["''", "'a'", "'abc'", "object.s", "'a' + object.s", "string(object.i)", "object.s.upperAscii()"],
    "bool": ["true", "false", "object.b", "has(object.m)", "has(object.x)", "'a' in object.m", "2 in object.l"],
    "list": ["[]", "[1, 2]", "object.l", "object.e", "[object.i]"],
}


@cache
def expressions(kind, depth):
    leaf = st.sampled_from(LEAVES[kind])
    if depth == 0:
        return leaf
    one = {name: expressions(name, depth - 1) for name in LEAVES}
    join = "({} {} {})".format
    grown = {
        "int": [
            st.builds(join, one["int"], st.sampled_from("+-*/%"), one["int"]),
            st.builds("{}.size()".format, one["string"]),
            st.builds("{}[{}]".format, one["list"], st.sampled_from(["0", "1", "5"])),
            st.builds("({} ? {} : {})".format, one["bool"], one["int"], one["int"]),
            st.builds("int({})".format, one["double"]),
        ],
        "double": [st.builds(join, one["double"], st.sampled_from("+-*/"), one["double"])],
        "string": [
            st.builds(join, one["string"], st.just("+"), one["string"]),
            st.builds("{}.replace({}, 'z')".format, one["string"], st.sampled_from(["'a'", "'bc'"])),
            st.builds("{}.substring({})".format, one["string"], st.sampled_from(["0", "1", "3"])),
            st.builds("string({})".format, one["int"]),
        ],
        "bool": [
            st.builds(join, one["bool"], st.sampled_from(["&&", "||", "==", "!="]), one["bool"]),
            st.builds(join, one["int"], st.sampled_from(["<", "<=", "==", "!=", ">=", ">"]), one["int"]),
            st.builds(join, one["string"], st.sampled_from(["<", "==", "!=", ">="]), one["string"]),
            st.builds("(dyn({}) {} {})".format, one["int"], st.sampled_from(["<", ">"]), one["double"]),
            st.builds("(dyn({}) == {})".format, one["int"], one["double"]),
            st.builds("!{}".format, one["bool"]),
            st.builds("{}.contains({})".format, one["string"], one["string"]),
            st.builds("({} in {})".format, one["int"], one["list"]),
            st.builds("{}.all(x, x < {})".format, one["list"], one["int"]),
            st.builds("{}.exists(x, 6 / x > {})".format, one["list"], one["int"]),
            st.builds("{}.exists_one(x, x == {})".format, one["list"], one["int"]),
            st.builds("({} == {})".format, one["list"], one["list"]),
        ],
        "list": [
            st.builds(join, one["list"], st.just("+"), one["list"]),
            st.builds("{}.filter(x, x > {})".format, one["list"], one["int"]),
            st.builds("{}.map(x, x + {})".format, one["list"], one["int"]),
            st.builds("[{}, {}]".format, one["int"], one["int"]),
        ],
    }
    return st.one_of(leaf, *grown[kind])


def google(text):
    try:
        found = GOOGLE.compile(text).eval(data={"object": OBJECT})
        return "error" if found.type() == cel.Type.ERROR else plain(found.plain_value())
    except RuntimeError:
        return "error"


def ours(text):
    try:
        return plain(compile_expression(text, {"object": DYN}, returns=DYN).evaluate({"object": OBJECT}))
    except (CelError, EvaluationError):
        return "error"


def plain(value):
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, Optional):
        return plain(value.value)
    if isinstance(value, (Timestamp, Duration)):
        return value.nanos // 1000
    if isinstance(value, datetime.datetime):
        return round((value - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)).total_seconds() * 10**6)
    if isinstance(value, datetime.timedelta):
        return round(value.total_seconds() * 10**6)
    if isinstance(value, float) and value != value:
        return "nan"
    return (type(value).__name__, value) if isinstance(value, (bool, float)) else value


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(LEAVES)).flatmap(lambda kind: expressions(kind, 3)))
@example("string(([] + object.l)[0])")
def test_random_expressions_have_the_same_value(text):
    assert ours(text) == google(text), text


CASES = [
    "'%s|%d|%.1f|%x|%o|%b|%e'.format(['a', 5, 2.25, 255, 8, 5, 1234.5])".replace("['a', 5", "[dyn('a'), dyn(5)"),
    "'%s %s %s'.format([dyn([1, 2]), dyn({'a': 1}), dyn(true)])",
    "timestamp('2024-03-01T10:20:30.123456Z')",
    "timestamp('2024-03-01T10:20:30Z').getDayOfYear()",
    "timestamp('2024-03-03T10:20:30Z').getDayOfWeek('Europe/Berlin')",
    "timestamp('2024-03-03T10:20:30+02:00') - duration('1h')",
    "duration('1h30m10.5s')",
    "duration('-1.5h').getMinutes()",
    "string(duration('1h')) + string(timestamp('2024-03-01T10:20:30Z'))",
    "string(1.0) + string(1.5) + string(-0.25) + string(true) + string(b'abc') + string(3u)",
    "int(-1.9) + int('-7') + int(3u)",
    "double('1e3') / 0.0",
    "1 / 0",
    "-9223372036854775808 - 1",
    "-9223372036854775808 / -1",
    "18446744073709551615u + 1u",
    "uint(-1)",
    "'a' * 2",
    "object.m.c",
    "object.m['a'] + object.l[2]",
    "object.l[3]",
    "object.x.y",
    "object.?m.?c.orValue(9)",
    "object.?x.y.hasValue()",
    "[?object.?x, ?object.?i]",
    "{?'a': object.?x, 'b': 1}",
    "optional.of(1).optMap(v, v + 1).orValue(0)",
    "optional.of(1).optFlatMap(v, optional.none()).hasValue()",
    "optional.ofNonZeroValue('').hasValue()",
    "has(object.m.a) && !has(object.m.z)",
    "object.n == null && object.i != null",
    "object.l == [1.0, 2.0, 3.0]",
    "{'a': 1} == {'a': dyn(1.0)}",
    "type(object.l) == list && type(object.m) == map && type(1u) == uint",
    "dyn(1) < dyn('a')",
    "dyn(1) == dyn('1')",
    "[dyn(1), dyn('a')].exists(x, x == 'a')",
    "object.m.exists(k, object.m[k] == 'x')",
    "'\\u0041\\x42\\103\\t'",
    "'日本語'.size() + b'日本語'.size()",
    "b'\\xff\\101'",
    "r'a\\n'",
    "'abc'.matches('^a.c$') && 'xabcx'.matches('abc')",
    "'a,b,,c'.split(',')",
    "'a,b,c'.split(',', 2)",
    "'abc'.split('')",
    "['a', 'b'].join('-') + ['x'].join()",
    "'hello'.indexOf('l') + 'hello'.lastIndexOf('l') + 'hello'.indexOf('z')",
    "'hello'.charAt(5)",
    "'hello'.substring(2, 1)",
    "'  x\\t'.trim()",
    "strings.quote('a\\n\"b\"')",
    "1 < 2 && 2u < 3u && 1.0 < 2.0 && 'a' < 'b' && false < true && b'a' < b'b'",
    "1 in [1, 2] && 'a' in {'a': 1} && !(3 in {1: 2})",
    "1 == 1 ? 'yes' : 'no'",
    "---1 + - -2",
    "!!true",
    "0x1F + 017",
    "1.5e-3 + .5",
    "true || (1 / 0 == 1)",
    "(1 / 0 == 1) && false",
    "[1, 2, 3].map(x, x % 2 == 1, x * 10)",
]


def test_what_documents_say_is_the_same():
    differences = {text: (ours(text), google(text)) for text in CASES if ours(text) != google(text)}
    assert differences == {}


WRONG = [
    "a",
    "1 + 'a'",
    "foo(1)",
    "'a'.foo()",
    "object.a +",
    "{1: 2",
    "1 ? 2 : 3",
    "x == 1",
    "[1",
    "[1 2]",
    "(1",
    "f(1",
    "size([1)",
]


def test_what_does_not_compile_is_told_alike():
    for text in WRONG:
        try:
            GOOGLE.compile(text)
            theirs = ""
        except RuntimeError as error:
            theirs = str(error).removeprefix("INVALID_ARGUMENT: ").removesuffix(" [INVALID_ARGUMENT]")
        try:
            compile_expression(text, {"object": DYN}, returns=DYN)
            own = ""
        except CelError as error:
            own = str(error).removeprefix("compilation failed: ")
        assert own == theirs, text
