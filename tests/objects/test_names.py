import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.objects import names


@pytest.mark.parametrize("name", ["a", "a-b", "a.b-c.d", "0", "a" * 253])
def test_good_subdomains_pass(name):
    assert names.dns_subdomain_errors(name) == []


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a..b", "a b", "\u00e4", "a\n"])
def test_bad_subdomains_break_the_pattern(name):
    (error,) = names.dns_subdomain_errors(name)
    assert error.endswith(
        r"regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    )


def test_a_label_with_dots_is_told_so():
    assert names.dns_label_errors("a.b") == ["must not contain dots"]


def test_an_empty_name_part_breaks_two_rules():
    assert names.qualified_name_errors("")[0] == "name part must be non-empty"
    assert len(names.qualified_name_errors("")) == 2


def test_qualified_names_have_at_most_one_prefix():
    assert names.qualified_name_errors("example.com/a") == []
    assert names.qualified_name_errors("/a") == ["prefix part must be non-empty"]
    assert "optional DNS subdomain prefix" in names.qualified_name_errors("a/b/c")[0]


def test_a_trailing_dash_is_fine_before_a_generated_suffix():
    assert names.name_errors("dns-label", "web-", prefix=True) == []
    assert names.name_errors("dns-label", "web-") != []


def test_annotation_keys_may_have_upper_case_prefixes_and_all_together_a_limit():
    assert names.validate_annotations({"Example.COM/a": "x"}, "p") == []
    (cause,) = names.validate_annotations({"a": "x" * names.ANNOTATIONS_MAX_BYTES}, "p")
    assert cause.message == "Too long: may not be more than 262144 bytes"


def test_a_label_selector_is_checked_term_by_term():
    selector = {
        "matchLabels": {"a": "b c"},
        "matchExpressions": [
            {"key": "k", "operator": "In"},
            {"key": "k", "operator": "Exists", "values": ["x"]},
            {"key": "k", "operator": "Near"},
        ],
    }
    causes = names.validate_label_selector(selector, "spec.selector")
    assert [cause.field for cause in causes] == [
        "spec.selector.matchLabels",
        "spec.selector.matchExpressions[0].values",
        "spec.selector.matchExpressions[1].values",
        "spec.selector.matchExpressions[2].operator",
    ]


@given(st.text(max_size=80))
def test_no_text_breaks_a_rule(text):
    for rule in names.NAME_RULES:
        names.name_errors(rule, text)
        names.name_errors(rule, text, prefix=True)
    names.validate_labels({text: text}, "metadata.labels")
