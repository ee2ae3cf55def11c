"""Expressions of Kubernetes' documentation and of the language definition, with the values and words of upstream."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.objects.cel import (
    BOOL,
    DYN,
    INT,
    NULL,
    STRING,
    CelError,
    CostExceeded,
    EvaluationError,
    compile_expression,
    list_of,
    map_of,
    object_of,
)

DEPLOYMENT = {
    "metadata": {"name": "web", "namespace": "shop", "labels": {"app.kubernetes.io/name": "web"}},
    "spec": {
        "replicas": 3,
        "paused": False,
        "ratio": 0.5,
        "template": {
            "spec": {
                "containers": [
                    {"name": "a", "image": "registry.example.com/a:1", "ports": [{"containerPort": 80}]},
                    {"name": "b", "image": "docker.io/b", "securityContext": {"privileged": True}},
                ]
            }
        },
    },
}


def value(text, returns=DYN, **variables):
    program = compile_expression(text, dict.fromkeys(variables, DYN), returns=returns)
    return program.evaluate(variables)


@pytest.mark.parametrize(
    "text",
    [
        "object.spec.replicas <= 5",
        "object.spec.replicas > 1 && object.metadata.name.startsWith('w')",
        "object.metadata.namespace == 'shop'",
        "object.metadata.labels['app.kubernetes.io/name'] == object.metadata.name",
        "has(object.spec.replicas) && !has(object.spec.strategy)",
        "object.spec.?strategy.?type.orValue('RollingUpdate') == 'RollingUpdate'",
        "object.?spec.replicas.hasValue()",
        "object.spec[?'none'].hasValue() == false",
        "object.spec.template.spec.containers.all(c, c.name.size() == 1)",
        "object.spec.template.spec.containers.exists(c, has(c.securityContext) && c.securityContext.privileged)",
        "object.spec.template.spec.containers.exists_one(c, c.image.startsWith('docker.io/'))",
        "object.spec.template.spec.containers.map(c, c.name) == ['a', 'b']",
        "object.spec.template.spec.containers.map(c, c.name == 'b', c.image)[0].endsWith('b')",
        "object.spec.template.spec.containers.filter(c, has(c.ports)).size() == 1",
        "object.spec.template.spec.containers.all(i, c, i < 2 && c.name != '')",
        "object.metadata.labels.all(key, value, key.contains('/') && value == 'web')",
        "object.metadata.labels.all(key, key != '')",
        "object.metadata.labels.exists(key, value, value == 'web')",
        "[1, 2].transformList(i, v, i * v) == [0, 2]",
        "[1, 2].transformList(i, v, i > 0, v) == [2]",
        "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2}",
        "{'a': 'b'}.transformMapEntry(k, v, {v: k}) == {'b': 'a'}",
        "object.spec.ratio * 2.0 == 1.0",
        "object.spec.replicas < 3.5",
        "dyn(3) == 3.0 && 3u <= 3",
        "'a' in object.spec.template.spec.containers.map(c, c.name)",
        "'replicas' in object.spec && !('x' in object.spec)",
        "object.spec.paused ? false : true",
        "type(object.spec.replicas) == int && type('') == string && type(null) == null_type",
        "type(timestamp('2020-01-01T00:00:00Z')) == google.protobuf.Timestamp",
        "string(object.spec.replicas) + 'x' == '3x'",
        "int('12') == 12 && double('1.5') == 1.5 && uint(3) == 3u && bool('true')",
        "7 / 2 == 3 && -7 / 2 == -3 && -7 % 2 == -1 && 7 % 2 == 1",
        "[1, 2] + [3] == [1, 2, 3] && b'a' + b'b' == b'ab'",
        "'\\u00e9\\x41\\101\\n'.size() == 4 && r'\\d'.size() == 2 && '''it's''' == \"it's\"",
        "{'a': 1, 'b': 2}['b'] == 2 && [1, 2][1] == 2",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsCIDR(cidr('11.0.0.0/9'))",
        "cidr('192.168.1.7/24').masked() == cidr('192.168.1.0/24') && cidr('::/0').prefixLength() == 0",
        "ip('::1').isLoopback() && ip('10.0.0.1').family() == 4 && isIP('1.2.3') == false",
        "ip('224.0.0.1').isLinkLocalMulticast() && ip('169.254.0.1').isLinkLocalUnicast() && ip('8.8.8.8').isGlobalUnicast()",
        "ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD')",
        "url('https://a.example:8443/x%20y?k=1&k=2').getPort() == '8443'",
        "url('https://a.example:8443/x').getHostname() == 'a.example' && url('https://a/').getScheme() == 'https'",
        "url('https://a/x%20y?k=1&k=2').getQuery()['k'] == ['1', '2'] && url('/a%20b').getEscapedPath() == '/a%20b'",
        "url('https://[::1]:80/').getHost() == '[::1]:80' && !isURL('a b') && isURL('/path')",
        "quantity('50k').isGreaterThan(quantity('50')) && quantity('1Gi') == quantity('1024Mi')",
        "quantity('50Mi').add(quantity('50Mi')) == quantity('100Mi') && quantity('5').sub(5).sign() == 0",
        "quantity('1500m').isInteger() == false && quantity('2k').asInteger() == 2000",
        "isQuantity('1.3G') && !isQuantity('200K') && quantity('1').compareTo(quantity('2')) == -1",
        "semver('1.2.3').major() == 1 && semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
        "semver('1.0.0-alpha.1').compareTo(semver('1.0.0-alpha.beta')) == -1 && isSemver('v1.2', true)",
        "format.dns1123Label().validate('my-name') == optional.none()",
        "format.named('nothing').hasValue() == false && format.uuid().validate('x').value().size() == 1",
        "sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && !sets.intersects([1], [2])",
        "[1, 3, 2].isSorted() == false && [1, 3].max() == 3 && [2, 1].min() == 1 && [1, 2].sum() == 3",
        "[duration('1h'), duration('30m')].sum() == duration('1h30m') && [2, 1, 2].lastIndexOf(2) == 2",
        "'abc 123'.find('[0-9]+') == '123' && '1 2 3'.findAll('[0-9]', 2) == ['1', '2']",
        "'Tea'.matches('^T.a$') && !'x'.matches('y') && matches('ab', 'b')",
        "'a,b,c'.split(',', 2) == ['a', 'b,c'] && ['a', 'b'].join('-') == 'a-b' && ' x '.trim() == 'x'",
        "'tacocat'.substring(4) == 'cat' && 'hello'.replace('l', 'L', 1) == 'heLlo' && 'Ab'.lowerAscii() == 'ab'",
        "'%d of %s: %.2f %x %b'.format([dyn(3), 'x', 1.0, 255, true]) == '3 of x: 1.00 ff 1'",
        "strings.quote('a\"b') == '\"a\\\\\"b\"' && 'abc'.charAt(1) == 'b' && 'abcb'.indexOf('b', 2) == 3",
        "timestamp('2024-02-29T12:30:00Z') + duration('24h') == timestamp('2024-03-01T12:30:00Z')",
        "timestamp('2024-02-29T23:30:00Z').getDayOfMonth('+01:00') == 0",
        "timestamp('2024-07-01T00:00:00Z').getHours('America/New_York') == 20",
        "duration('90m').getHours() == 1 && string(duration('90s')) == '90s' && int(timestamp('1970-01-01T00:01:00Z')) == 60",
        "optional.of(2).optMap(x, x * 2).value() == 4 && optional.none().or(optional.of(1)).hasValue()",
        "[?optional.of(1), ?optional.none()] == [1] && {?'a': optional.none()}.size() == 0",
        "true || 1 / 0 > 0",
        "(1 / 0 > 0) || true",
        "!(1 / 0 > 0 && false)",
        "[1, 0].exists(x, 1 / x == 1) && ![0, 2].all(x, 4 / x == 4)",
        "// a comment\n  1 ==\n 1",
    ],
)  # fmt: skip
def test_an_expression_is_true(text):
    assert value(text, object=DEPLOYMENT) is True


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("object.spec.nothing == 1", "no such key: nothing"),
        ("object.metadata.name > 1", "no such overload"),
        ("object.spec.replicas / 0 == 1", "division by zero"),
        ("object.spec.replicas % 0 == 1", "modulus by zero"),
        ("9223372036854775807 + object.spec.replicas > 0", "integer overflow"),
        ("object.spec.template.spec.containers[7] == null", "index out of bounds: 7"),
        ("optional.none().value() == 1", "optional.none() dereference"),
        ("duration(object.metadata.name) == duration('1h')", 'time: invalid duration "web"'),
        ("int(object.metadata.name) == 1", 'strconv.ParseInt: parsing "web": invalid syntax'),
        ("quantity(object.metadata.name) == quantity('1')", "quantities must match the regular expression"),
        ("object.metadata.name.matches('a' + '(')", "error parsing regexp"),
        ("[1, 2].all(x, object.spec.nothing)", "no such key: nothing"),
        ("object.spec.replicas && true", "no such overload"),
    ],
)
def test_an_expression_has_no_value(text, words):
    with pytest.raises(EvaluationError) as error:
        value(text, object=DEPLOYMENT)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("truex", "ERROR: <input>:1:1: undeclared reference to 'truex' (in container '')\n | truex\n | ^"),
        ("x.y", "ERROR: <input>:1:2: type 'int' does not support field selection\n | x.y\n | .^"),
        ("s.foo == 1", "ERROR: <input>:1:2: undefined field 'foo'\n | s.foo == 1\n | .^"),
        ("x +\n 'a'", "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'"),
        ("x == \n  y", "ERROR: <input>:2:3: undeclared reference to 'y' (in container '')\n |   y\n | ..^"),
        ("'a'.startsWith(1)", "found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("x > 1 ? 'a' : 2", "found no matching overload for '_?_:_' applied to '(bool, string, int)'"),
        ("[1, 'a']", "expected type 'int' but found 'string'"),
        ("1 == 1.0", "found no matching overload for '_==_' applied to '(int, double)'"),
        ("x.all(y, true)", "expression of type 'int' cannot be range of a comprehension"),
        ("'a'.matches('(')", "ERROR: <input>:1:13: invalid matches argument"),
        ("duration('1')", "invalid duration argument"),
        ("timestamp('now')", "invalid timestamp argument"),
        ("1 +", "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting"),
        ("1 2", "ERROR: <input>:1:3: Syntax error: extraneous input '2' expecting <EOF>"),
        ("f(", "Syntax error: mismatched input '<EOF>' expecting"),
        ("1 # 2", "Syntax error: token recognition error at: '#'"),
        ("namespace == 1", "reserved identifier: namespace"),
        ("[1].map(1, 2)", "argument must be a simple name"),
        ("has(x)", "invalid argument to has() macro"),
        ("99999999999999999999", "invalid int literal"),
        ("cel.bind(y, 1, y)", "undeclared reference to 'cel'"),
        ("Object{a: 1}", "undeclared reference to 'Object'"),
        ("(" * 300 + "1" + ")" * 300, "recursion limit exceeded"),
        ("'" + "x" * 100_001 + "'", "expression code point size exceeds limit"),
    ],
)  # fmt: skip
def test_what_does_not_compile_is_told_in_upstreams_words(text, words):
    with pytest.raises(CelError) as error:
        compile_expression(text, {"x": INT, "s": object_of("S", {"bar": INT})}, returns=DYN)
    assert str(error.value).startswith("compilation failed: ERROR: <input>:")
    assert words in str(error.value)


def test_all_issues_are_told_in_their_order():
    with pytest.raises(CelError) as error:
        compile_expression("a && b", {})
    assert [line.partition(": ")[0] for line in str(error.value).splitlines() if "ERROR" in line] == [
        "compilation failed",
        "ERROR",
    ]
    assert str(error.value).index("'a'") < str(error.value).index("'b'")


def test_the_type_of_the_value_is_checked():
    with pytest.raises(CelError, match=r"^must evaluate to bool but got int$"):
        compile_expression("1", {})
    with pytest.raises(CelError, match=r"^must evaluate to bool but got dyn$"):
        compile_expression("object.a", {"object": DYN})
    with pytest.raises(CelError, match=r"^must evaluate to one of \[string null_type\] but got int$"):
        compile_expression("1", {}, returns=(STRING, NULL))
    assert compile_expression("'a'", {}, returns=(STRING, NULL)).result == STRING


def test_typed_fields_are_converted():
    kind = object_of("T", {"ratio": "", "at": ""})
    from sparsam.objects.cel import BYTES, DOUBLE, DURATION, TIMESTAMP

    kind = object_of(
        "T",
        {"ratio": DOUBLE, "at": TIMESTAMP, "span": DURATION, "raw": BYTES, "many": list_of(DOUBLE), "x__dash__y": INT},
    )
    item = {"ratio": 1, "at": "2024-01-01T00:00:00Z", "span": "1h", "raw": "YQ==", "many": [1, 2], "x-y": 4}
    text = "t.ratio + 0.5 == 1.5 && t.at < timestamp('2025-01-01T00:00:00Z') && t.span.getMinutes() == 60 "
    text += "&& t.raw == b'a' && t.many.all(m, m >= 1.0) && t.many[1] == 2.0 && t.x__dash__y == 4"
    assert compile_expression(text, {"t": kind}).evaluate({"t": item}) is True


def test_a_map_with_known_values_is_checked_through():
    variables = {"m": map_of(STRING, INT)}
    assert compile_expression("m.a + m['b'] == 3", variables).evaluate({"m": {"a": 1, "b": 2}}) is True
    with pytest.raises(CelError, match="no matching overload"):
        compile_expression("m.a == 'x'", variables)


@pytest.mark.parametrize(
    "text",
    [
        "object.all(a, object.all(b, object.all(c, object.all(d, a + b + c + d >= 0))))",
        "object.map(x, object.map(y, object)).size() == object.size() && "
        "object.map(x, object.map(y, object)) == object.map(x, object.map(y, object))",
        "[['x' + 'y']].map(a, [a, a])" + "".join(f".map(v{i}, [v{i}, v{i}])" for i in range(40)) + " == dyn(['x'])",
        "object.map(x, 'aaaaaaaaaaaaaaaaaaaa').join('').replace('', object.map(x, 'bbbbbbbbbbbbbbbbbbbb').join('')) == ''",
        "object.exists(x, object.map(y, 'aaaaaaaaaaaaaaaa').join('').matches('(a*)*(a*)*b') && object.all(z, z > x))",
    ],
)  # fmt: skip
def test_what_takes_too_long_is_broken_off(text):
    program = compile_expression(text, {"object": DYN})
    with pytest.raises(CostExceeded, match=r"^operation cancelled: actual cost limit exceeded$"):
        program.evaluate({"object": list(range(3000))}, limit=50_000)


@pytest.mark.parametrize(
    "text",
    [
        "[" + "[]," * 30_000 + "[1]]",
        "[" + "a," * 45_000 + "a]",
        "[1]" + "".join(f".map(v{place}, {{v{place}: v{place}}})" for place in range(200)),
        "+".join(["1"] * 40_000),
        "!" * 90_000 + "true",
        "[" * 240 + "]" * 240,
        "a" + ".b" * 40_000,
        "'" + "\\n" * 45_000 + "'.size() == 45000",
        "{" + ",".join(f"{place}: {place}" for place in range(9_000)) + "}",
        "'" + '"' * 90_000,
    ],
)  # fmt: skip
def test_long_and_odd_texts_are_compiled_or_refused_without_ado(text):
    started = time.process_time()
    with contextlib.suppress(CelError):
        compile_expression(text, {}, returns=DYN)
    assert time.process_time() - started < 20


@given(st.text(alphabet="ab01.,:?()[]{}'\"+-*/%!<>=&| \\\n\tr", max_size=40))
def test_no_text_breaks_the_compiler(text):
    with contextlib.suppress(CelError):
        compile_expression(text, {"a": DYN, "b": INT}, returns=DYN)


def test_what_is_left_of_the_limit_is_told():
    program = compile_expression("object.a == 1", {"object": DYN})
    found, left = program.evaluate_within({"object": {"a": 1}}, 100)
    assert found is True
    assert 90 < left < 100


def test_values_are_not_changed():
    item = {"list": [1, 2], "map": {"a": 1}}
    assert value(
        "object.list + [3] == [1, 2, 3] && object.map.transformMap(k, v, v) == {'a': 1}", object=item, returns=BOOL
    )
    assert item == {"list": [1, 2], "map": {"a": 1}}
