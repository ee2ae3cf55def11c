"""Links of pages that are read through the API server."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.apiserver.rewriting import MAX_TAG_BYTES, LinkRewriter, Place, rewrite_link

PLACE = Place("/api/v1/namespaces/n/pods/p:80/proxy", frozenset({"10.1.2.3:80", "api:6443"}))
P = PLACE.prefix


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("/rewriteme", f"{P}/rewriteme"),
        ("/", f"{P}/"),
        ("/a/../b/?q=/x#/y", f"{P}/b/?q=/x#/y"),
        ("http://10.1.2.3:80/x", f"{P}/x"),
        ("https://api:6443/x", f"{P}/x"),
        (f"{P}/x", f"{P}/x"),
        ("relative/x", "relative/x"),
        ("#part", "#part"),
        ("http://elsewhere/x", "http://elsewhere/x"),
        ("mailto:x@y", "mailto:x@y"),
        ("http://[broken/x", "http://[broken/x"),
    ],
)
def test_only_links_to_the_same_server_are_changed(link, expected):
    assert rewrite_link(link, PLACE) == expected


PAGES = {
    '<a href="/rewriteme">test</a>': f'<a href="{P}/rewriteme">test</a>',
    "<IMG alt='/x' SRC=/i.png>": f"<IMG alt='/x' SRC=\"{P}/i.png\">",
    '<a href="/x?a=1&amp;b=2" data-href="/y">': f'<a href="{P}/x?a=1&amp;b=2" data-href="/y">',
    "<form action='/f'><p class='/x'>1 < 2": f"<form action=\"{P}/f\"><p class='/x'>1 < 2",
    '<script src="/s.js">w("<a href=/x>")</script><a href="/y">': f'<script src="{P}/s.js">w("<a href=/x>")</script>'
    f'<a href="{P}/y">',
    '<!-- <a href="/x"> --><a href="/y">': f'<!-- <a href="/x"> --><a href="{P}/y">',
    '<a title=">" href="/x">': f'<a title=">" href="{P}/x">',
    '<a href="/x"': '<a href="/x"',
    "a<b>c</b>&lt;": "a<b>c</b>&lt;",
}


@given(st.sampled_from(sorted(PAGES)), st.lists(st.integers(0, 80)))
def test_pages_are_rewritten_however_they_come_in_pieces(page, cuts):
    raw, rewriter = page.encode(), LinkRewriter(PLACE)
    ends = [0, *sorted(min(each, len(raw)) for each in cuts), len(raw)]
    pieces = [rewriter.feed(raw[start:end]) for start, end in pairwise(ends)]
    assert b"".join([*pieces, rewriter.close()]).decode() == PAGES[page]


def test_a_tag_without_end_is_not_waited_for():
    rewriter = LinkRewriter(PLACE)
    assert rewriter.feed(b"<a " + b"x" * MAX_TAG_BYTES)
    assert rewriter.feed(b'><a href="/x">').endswith(f'<a href="{P}/x">'.encode())
