"""Folders and buckets alike, against a real server that speaks S3."""

import subprocess
import sys

import pytest

from hicray.config import UserError
from hicray.io import copies, storage
from hicray.io.storage import S3Path, locate, replaced
from tests.buckets import BUCKET


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path, bucket):
    """An empty place of either kind."""
    if request.param == "folder":
        return tmp_path
    return locate(f"s3://{BUCKET}/{tmp_path.name}")


def test_what_is_written_is_read_listed_and_removed(place):
    (place / "deep").mkdir(parents=True, exist_ok=True)
    (place / "a.txt").write_text("one")
    (place / "deep" / "b.txt").write_bytes(b"\0two")
    assert (place / "a.txt").read_text() == "one"
    assert storage.size_of(place / "deep" / "b.txt") == 4
    assert (place / "deep").is_dir()
    assert not (place / "deep").is_file()
    assert (place / "a.txt").is_file()
    assert not (place / "c.txt").exists()
    assert storage.matching(place, "*.txt") == [place / "a.txt"]
    assert storage.matching(place, "*/b.*") == [place / "deep" / "b.txt"]
    assert (place / "deep" / "b.txt").parent.name == "deep"
    (place / "a.txt").unlink()
    storage.remove_tree(place / "deep")
    storage.remove_tree(place / "deep")  # twice is once
    assert storage.matching(place, "*") == []


def test_a_file_appears_whole_or_not_at_all(place):
    (place / "kept").write_text("old")

    def write(name):
        with replaced(place / name) as path:
            path.write_text("half")
            raise KeyboardInterrupt

    for name in ("kept", "new"):
        with pytest.raises(KeyboardInterrupt):
            write(name)
    assert (place / "kept").read_text() == "old"
    assert [one.name for one in storage.matching(place, "*")] == ["kept"]
    with replaced(place / "kept") as path:
        path.write_text("new")
        assert (place / "kept").read_text() == "old"
    assert (place / "kept").read_text() == "new"


def test_reading_at_random(place):
    (place / "numbers").write_bytes(bytes(range(256)) * 1000)
    with storage.open_file(place / "numbers") as file:
        file.seek(1000)
        assert file.read(3) == bytes([232, 233, 234])


def test_a_copy_is_fetched_once_and_anew_when_the_object_changes(bucket):
    place = locate(f"s3://{BUCKET}/fetched/one.txt")
    place.write_text("first")
    first = copies.local(str(place))
    assert first.read_text() == "first"
    first.write_text("touched")  # a second fetch would put it right
    copies._fetched.cache_clear()
    assert copies.local(place).read_text() == "touched"
    place.write_text("second, longer")
    copies._fetched.cache_clear()
    assert copies.local(place).read_text() == "second, longer"


def test_a_folder_is_fetched_as_a_folder(bucket):
    place = locate(f"s3://{BUCKET}/fetched/folder")
    (place / "a").write_text("1")
    (place / "b" / "c").write_text("2")
    copy = copies.local(place)
    assert {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()} == {
        "a",
        "b/c",
    }
    assert copies.local_uri(f"{place}/a::/resolutions/4").endswith("/a::/resolutions/4")


def test_publishing_copies_what_is_missing(tmp_path, bucket):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").write_text("1")
    place = locate(f"s3://{BUCKET}/published")
    copies.publish(tmp_path, place)
    copies.publish(tmp_path, place)
    assert bucket.names("published") == ["published/sub/x"]


def test_other_libraries_read_what_was_written(bucket):
    with replaced(locate(f"s3://{BUCKET}/large")) as path:
        path.write_bytes(b"x" * (20 << 20))  # uploaded in parts
    found = bucket.client().get_object(Bucket=BUCKET, Key="large")["Body"].read()
    assert found == b"x" * (20 << 20)


def test_a_local_path_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate("runs") == tmp_path / "runs"
    assert copies.local("runs/x").name == "x"


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("gs://bucket/x", "of no known kind"),
        ("s3://", "names no bucket"),
        ("s3://bucket/../other", "names no bucket or leaves it"),
        ("s3://AKIAKEY:secret@bucket/x", "holds credentials"),
        ("s3://bucket/x?access_key=secret", "holds credentials"),
    ],
)
def test_other_addresses_are_refused_without_repeating_a_secret(where, sentence):
    with pytest.raises(UserError, match=sentence) as refused:
        locate(where)
    assert "secret" not in str(refused.value).replace("AWS_SECRET", "")


def test_a_bucket_that_is_not_there_is_refused_in_one_sentence(bucket):
    with pytest.raises(UserError, match="cannot be written") as refused:
        storage.require_writable(S3Path("nobodys/x"))
    assert "\n" not in str(refused.value)
    assert bucket.secret not in str(refused.value)


def test_what_is_not_there_cannot_be_fetched(bucket):
    with pytest.raises(UserError, match="does not exist"):
        copies.local(f"s3://{BUCKET}/nothing.mcool")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        storage.require_writable(tmp_path / "file" / "x")


def test_importing_storage_loads_neither_torch_nor_ray():
    code = "import sys, hicray.io.storage; sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
