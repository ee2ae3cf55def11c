from sparsam.apiserver.output import warning_headers


def test_a_warning_is_quoted_once_and_cannot_break_out_of_its_header():
    assert warning_headers(['a "b" \\', "a\r\nX: y", 'a "b" \\']) == [
        ("warning", '299 - "a \\"b\\" \\\\"'),
        ("warning", '299 - "a  X: y"'),
    ]


def test_too_many_warnings_are_cut_first_each_then_their_number():
    few = warning_headers(["x" * 5000, "y" * 10])
    assert [len(text) for _, text in few] == [len('299 - ""') + 256, len('299 - ""') + 10]
    many = warning_headers([f"{number:04}" * 25 for number in range(1000)])
    assert 4096 <= sum(len(text) for _, text in many) < 5000
