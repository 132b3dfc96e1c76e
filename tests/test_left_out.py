"""Files that cannot be used are told by reason, so that hundreds of one kind are a line."""

from restore.data.store import by_reason


def test_many_files_of_one_reason_are_a_line_that_names_a_few():
    small = [f"photos/{n}.jpg: image: 321 x 481 pixels given, and the transforms need 512 x 512" for n in range(200)]
    (line,) = by_reason(small)
    assert line == (
        "photos/0.jpg, photos/1.jpg, photos/2.jpg and 197 more: image: 321 x 481 pixels given, and the transforms "
        "need 512 x 512"
    )


def test_few_files_have_a_line_each_in_their_order():
    lines = ["a.png: is damaged", "b.png: is too small", "c.png: is damaged"]
    assert sorted(by_reason(lines)) == sorted(lines)
