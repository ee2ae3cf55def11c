"""Formats of texts: what Go's parsers take, and what they do not."""

import pytest

from sparsam.objects.structural.formats import FORMATS, check_of, is_known

GOOD = {
    "bsonobjectid": ["507f1f77bcf86cd799439011"],
    "uri": ["http://a.b/c?d#e", "/a/b", "mailto:a@b.c", "https://[::1]:8080/x", "urn:a:b", "http://a.b:80"],
    "email": ["a@b", "a.b+c@d.e", '"a b"@c.d', "A Name <a@b.c>"],
    "hostname": ["a", "a.bc", "a-b.example.com", "1.example.com", "x" * 63],
    "ipv4": ["10.0.0.1", "::ffff:10.0.0.1"],
    "ipv6": ["::1", "fe80::1"],
    "cidr": ["10.0.0.1/8", "fe80::/64"],
    "mac": ["01:23:45:67:89:ab", "01-23-45-67-89-AB", "0123.4567.89ab", "01:23:45:67:89:ab:cd:ef"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000", "123E4567E89B12D3A456426614174000"],
    "uuid3": ["6fa459ea-ee8a-3ca4-894e-db77e160355e"],
    "uuid4": ["f47ac10b-58cc-4372-a567-0e02b2c3d479"],
    "uuid5": ["886313e1-3b8a-5372-9b90-0c9aee199e5d"],
    "isbn": ["0321751043", "978-0321751041"],
    "isbn10": ["0321751043", "0-8044-2957-X"],
    "isbn13": ["978-0321751041"],
    "creditcard": ["4111 1111 1111 1111"],
    "ssn": ["123-45-6789", "123456789"],
    "hexcolor": ["#fff", "A0b1C2"],
    "rgbcolor": ["rgb(0,255,31)", "rgb( 1, 2, 3 )"],
    "byte": ["YQ==", "YWI=", "YWJj"],
    "password": ["", "x"],
    "date": ["2024-02-29", "2000-12-31"],
    "duration": ["1h30m", "-1.5s", "0", "22 ns", "3 weeks", "1 day 2 hours"],
    "date-time": ["2014-12-15T19:30:20.000Z", "2014-12-15t19:30:20+01:00"],
    "quantity": ["10Gi", "0.5"],
    "k8s-short-name": ["a-b"],
    "k8s-long-name": ["a.b-c.d"],
}
BAD = {
    "bsonobjectid": ["507f1f77bcf86cd79943901", "g" * 24],
    "uri": ["", "a/b", "a b", "http://a/%zz", "http://a.b:x/", "/\x01"],
    "email": ["", "a", "@b", "a@", "a b@c", "a@b@c", "A <a@b", "a@b\n"],
    "hostname": ["", "-a", "a-", "a..b", "a.b", "a_b", "x" * 64, "a b", ".".join(["x" * 60] * 5)],
    "ipv4": ["::1", "1.2.3", "1.2.3.4/8", "01.2.3.4"],
    "ipv6": ["1.2.3.4", "fe80::1%eth0", ":"],
    "cidr": ["10.0.0.1", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/255.0.0.0"],
    "mac": ["01:23:45:67:89", "01:23-45:67:89:ab", "0g:23:45:67:89:ab"],
    "uuid": ["123e4567", "123e4567-e89b-12d3-a456-42661417400g"],
    "uuid3": ["f47ac10b-58cc-4372-a567-0e02b2c3d479"],
    "uuid4": ["6fa459ea-ee8a-3ca4-894e-db77e160355e"],
    "uuid5": ["f47ac10b-58cc-4372-a567-0e02b2c3d479"],
    "isbn": ["0321751044"],
    "isbn10": ["0321751044", "978-0321751041"],
    "isbn13": ["978-0321751042", "0321751043"],
    "creditcard": ["4111 1111 1111 1112", "1"],
    "ssn": ["12-345-6789"],
    "hexcolor": ["#ffff", "#ggg"],
    "rgbcolor": ["rgb(256,0,0)", "rgb(1,2)"],
    "byte": ["", "YQ", "Y Q=", "YQ=\n"],
    "date": ["2023-02-29", "2023-1-1", "20230101", "2023-01-01\n"],
    "duration": ["", "1", "1x", "x", "h1"],
    "date-time": ["2014-12-15", "2014-12-15T24:00:00Z", "2014-12-15T19:60:00Z", "2014-12-15T19:30:20", "T"],
    "quantity": ["", "10Gib"],
    "k8s-short-name": ["a.b", "A"],
    "k8s-long-name": ["a..b", ""],
}


@pytest.mark.parametrize("name", GOOD)
def test_texts_of_the_format_are_taken(name):
    check = check_of(name)
    assert [text for text in GOOD[name] if not check(text)] == []


@pytest.mark.parametrize("name", BAD)
def test_other_texts_are_not(name):
    check = check_of(name)
    assert [text for text in BAD[name] if check(text)] == []


def test_each_format_is_tried():
    assert {name.replace("-", "") for name in GOOD} == FORMATS.keys()


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("", "", False),
        ("date", "", True),
        ("date", "string", True),
        ("date", "integer", False),
        ("int32", "integer", True),
        ("int32", "string", False),
        ("int32", "number", False),
        ("double", "number", True),
        ("date", "object", False),
    ],
)
def test_a_format_says_something_of_its_own_type_only(name, kind, says):
    assert is_known(name, kind) == says
