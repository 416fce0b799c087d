"""Where repositories may lie, as people write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import Invalid
from supervisor.managers.backups.repository_place import Place, PlaceKind, parse


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("/srv/backups/", Place(PlaceKind.FOLDER, "/srv/backups")),
        ("mount:nas/home/x", Place(PlaceKind.MOUNT, "home/x", mount="nas")),
        ("sftp://me@host/b", Place(PlaceKind.SFTP, "/b", host="host", user="me")),
        ("sftp://me@host:2222/~/b/c", Place(PlaceKind.SFTP, "~/b/c", host="host", port=2222, user="me")),
        ("sftp://me@[::1]:22/b", Place(PlaceKind.SFTP, "/b", host="[::1]", port=22, user="me")),
        ("s3://s3.example.org/bucket", Place(PlaceKind.S3, "", host="s3.example.org", bucket="bucket")),
        (
            "s3+http://10.0.0.1:9000/bucket/a/b",
            Place(PlaceKind.S3, "a/b", host="10.0.0.1", port=9000, bucket="bucket", encrypted=False),
        ),
    ],
)
def test_a_place_is_read_and_written_the_same(written: str, place: Place) -> None:
    assert parse(written) == place
    assert parse(str(place)) == place


@pytest.mark.parametrize(
    "wrong",
    [
        "", "/", "//", "relative", "/a/../b", "mount:", "mount:nas", "mount:nas/..", "mount:../x", "sftp://host/x",
        "sftp://me:secret@host/x", "sftp://me@/x", "sftp://me@host", "sftp://-oProxyCommand=x@host/x",
        "sftp://me@-oProxyCommand=x/x", "sftp://me@host:0/x", "sftp://me@host:99999/x", "sftp://me@host/x?y", "s3://host",
        "s3://host/B", "s3://key:secret@host/bucket", "s3://host/bucket/../other", "http://host/x", "rclone:x:y",
        "rest:http://host/", "/a\nb", "/a\0b", "local:/x", "sftp:me@host:/x", "mount:nas/~/x", "sftp://me@host/%2e%2e/x",
    ],
)  # fmt: skip
def test_what_is_no_place_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(wrong)
    assert "secret" not in str(refused.value)


@given(st.one_of(st.text(), st.text().map("sftp://me@host/{}".format), st.text().map("s3://host/{}".format)))
def test_whatever_is_accepted_is_read_the_same_again(written: str) -> None:
    try:
        place = parse(written)
    except Invalid:
        return
    assert parse(str(place)) == place
    assert ".." not in place.path.split("/")
    assert not place.host.startswith("-")
    assert not place.user.startswith("-")
