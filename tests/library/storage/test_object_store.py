"""Objects on a real store."""

from __future__ import annotations

import uuid

import pytest

from include.errors import SourceError
from include.storage.object_store import ObjectStore, content_type, join
from include.storage.settings import StoreSettings


@pytest.fixture
def store(store_settings: StoreSettings) -> ObjectStore:
    return ObjectStore(store_settings)


def test_join_builds_an_address():
    assert join("s3://landing") == "s3://landing"
    assert join("s3://landing/", "loans/2005-Q3", "part=1_a.parquet") == (
        "s3://landing/loans/2005-Q3/part=1_a.parquet"
    )


@pytest.mark.parametrize(
    "parts",
    [
        ("s3://landing", ".."),
        ("s3://landing", "a/../../lake"),
        ("s3://landing", ""),
        ("s3://landing", "a//b"),
        ("s3://landing", "a b"),
        ("s3://landing", "a\nb"),
        ("s3://landing", "a\n"),
        ("s3://landing", "-rf"),
        ("s3://landing", "a%2e"),
        ("s3://landing", "ä"),
        ("s3://", "a"),
        ("s3://Landing", "a"),
        ("landing", "a"),
        ("file:///etc", "passwd"),
    ],
)
def test_join_refuses_anything_odd(parts):
    with pytest.raises(SourceError, match=r"^address .*, got .+\. "):
        join(*parts)


def test_write_read_exists_delete(store):
    uri = "s3://reports/objects/a.json"
    assert not store.exists(uri)
    store.write(uri, b"{}", "application/json")
    assert store.exists(uri)
    assert store.read(uri) == b"{}"
    store.write(uri, b"")
    assert store.read(uri) == b""
    store.delete(uri)
    store.delete(uri)
    assert not store.exists(uri)


ANY_KEYS = (
    "my data+v1 (copy).csv",
    "größe 日本\u2028.csv",
    "a%20b.csv",
    "a?b#c&d=e.csv",
    'it\'s, "quoted"; @:$!*~.csv',
    "{x}[y]^`|<z>.csv",
    "a b/ c d /..e.csv",
)


def test_any_key_that_s3_allows_can_be_used(store, store_settings):
    folder = f"s3://landing/{uuid.uuid4().hex} odd & more/"
    uris = sorted(f"{folder}{key}" for key in ANY_KEYS)
    for uri in uris:
        store.write(uri, uri.encode())
    assert [item.uri for item in store.list(folder)] == uris
    filesystem = store_settings.filesystem()
    for uri in uris:
        assert store.exists(uri)
        assert store.read(uri) == uri.encode()
        with filesystem.open_input_stream(store_settings.path(uri)) as stream:
            assert stream.read() == uri.encode()
        store.delete(uri)
        assert not store.exists(uri)
    assert store.list(folder) == ()


def test_list_is_recursive_and_sorted_by_address(store):
    for name in ("b.txt", "a/z.txt", "a.txt", "a-b.txt"):
        store.write(f"s3://reports/listing/{name}", name.encode())
    store.write("s3://reports/listing-of-another/a.txt", b"")

    listed = store.list("s3://reports/listing/")

    assert [item.uri.removeprefix("s3://reports/listing/") for item in listed] == [
        "a-b.txt",
        "a.txt",
        "a/z.txt",
        "b.txt",
    ]
    assert listed[1].size == 5
    assert listed[2].name == "z.txt"
    assert listed[0].modified.tzinfo is not None
    assert store.list("s3://reports/nothing-here") == ()


def test_upload_folder_keeps_structure_and_types(store, tmp_path):
    (tmp_path / "static").mkdir()
    (tmp_path / "index.html").write_text("<p>")
    (tmp_path / "static" / "page.css").write_text("p{}")

    written = store.upload_folder(tmp_path, "s3://reports/site")

    assert written == ("s3://reports/site/index.html", "s3://reports/site/static/page.css")
    head = store.client.head_object(Bucket="reports", Key="site/index.html")
    assert head["ContentType"] == "text/html; charset=utf-8"
    css, index = (
        next(x for x in store.list("s3://reports/site") if x.uri == uri)
        for uri in reversed(written)
    )
    assert index.modified >= css.modified


def test_upload_folder_refuses_an_empty_folder_and_odd_names(store, tmp_path):
    with pytest.raises(SourceError, match="must hold at least one file"):
        store.upload_folder(tmp_path, "s3://reports/empty")
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "b c.txt").write_text("")
    with pytest.raises(SourceError, match=r"'b c\.txt'"):
        store.upload_folder(tmp_path, "s3://reports/odd")
    assert store.list("s3://reports/odd") == ()


def test_a_missing_object_and_bucket_are_named(store):
    with pytest.raises(SourceError, match=r"s3://reports/none.txt: .*NoSuchKey"):
        store.read("s3://reports/none.txt")
    with pytest.raises(SourceError, match=r"s3://nowhere: .*NoSuchBucket"):
        store.list("s3://nowhere")
    assert not store.exists("s3://nowhere/a.txt")


def test_wrong_credentials_and_a_dead_server_are_told_apart(store_settings):
    stranger = store_settings.model_copy(update={"access_key": "stranger"})
    with pytest.raises(SourceError, match="access key"):
        ObjectStore(stranger).list("s3://reports")
    nobody = store_settings.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
    with pytest.raises(SourceError, match="Check that the store runs"):
        ObjectStore(nobody).list("s3://reports")


def test_secrets_stay_out_of_messages(store_settings):
    wrong = store_settings.model_copy(
        update={"secret_key": type(store_settings.secret_key)("not-the-secret")}
    )
    with pytest.raises(SourceError) as caught:
        ObjectStore(wrong).list("s3://reports")
    assert "not-the-secret" not in f"{caught.value}{caught.value.__cause__}"


def test_content_types_do_not_depend_on_the_machine():
    assert content_type("a.js") == "text/javascript; charset=utf-8"
    assert content_type("A.PARQUET") == "application/vnd.apache.parquet"
    assert content_type("a.unknown") == "application/octet-stream"
