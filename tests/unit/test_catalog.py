import hashlib
from importlib.resources import files

import pytest
import yaml
from pydantic import ValidationError

from spandex.data import catalog as catalog_module
from spandex.data.catalog import catalog, dns4_archives, dns4_names, ndns_test_set_1, parse_catalog, source
from spandex.errors import SpandexError

TEXT = files(catalog_module.__package__).joinpath("catalog.yaml").read_text(encoding="utf-8")


def all_sources():
    return [source(name) for name in catalog().sources] + ndns_test_set_1() + dns4_archives(["*"])


def test_every_source_says_where_it_is_whose_it_is_and_what_checks_it():
    for item in all_sources():
        assert item.address.startswith("https://")
        assert item.licence and item.role
        assert item.citation in catalog().citations
        assert (item.size and item.checksums) or item.note


def test_names_and_files_are_unique():
    assert (
        len({item.name for item in all_sources()}) == len({item.file for item in all_sources()}) == len(all_sources())
    )


def test_published_networks_of_the_mirror_are_the_catalogued_ones(mirror):
    for name in ("ndns-baseline-pt", "ndns-baseline-net", "spandex-prune50-net"):
        content = (mirror / source(name).file).read_bytes()
        assert (f"sha256:{hashlib.sha256(content).hexdigest()}",) == source(name).checksums
        assert len(content) == source(name).size


def test_archive_names_are_those_of_the_mirror_list(mirror):
    assert list(dns4_names()) == (mirror / "dns4" / "blobs.txt").read_text().split()


def test_test_set_parts_are_in_the_order_of_a_split_zip():
    names = [part.name for part in ndns_test_set_1()]
    assert names == [*(f"test_set_1.z{n:02}" for n in range(1, 10)), "test_set_1.zip"]
    assert {part.size for part in ndns_test_set_1()[:-1]} == {3 * 2**30}  # zip -s 3g


def edited(**changes):
    content = yaml.safe_load(TEXT)
    content["sources"]["esc50"] |= changes
    return yaml.safe_dump(content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adress": "https://x"}, "adress"),
        ({"checksums": ["md5:123"]}, "md5:123"),
        ({"checksums": ["crc:" + "0" * 32]}, "crc:"),
        ({"file": "../x.zip"}, "plain relative path"),
        ({"file": "/x.zip"}, "plain relative path"),
        ({"size": -1}, "size"),
        ({"address": "ftp://x"}, "address"),
        ({"note": None}, "needs a note"),
        ({"citation": "nobody"}, "'nobody' is not among"),
    ],
)
def test_unknown_key_or_impossible_value_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        parse_catalog(edited(**changes))


def test_source_that_does_not_exist_is_an_error_listing_those_that_do():
    with pytest.raises(SpandexError, match=r"'esc10' is not in the catalogue, which has .*esc50"):
        source("esc10")


@pytest.mark.parametrize(
    ("select", "count"),
    [
        (["*"], 127),
        (["speech", "noise"], 125),  # without the development test set and the room responses
        (["russian"], 2),
        (["russian", "russian", "*russian*"], 2),
        (["*.read_speech_00?_*"], 10),
        (["datasets_fullband.noise_fullband.audioset_000.tar.bz2"], 1),
        (["noise_fullband/datasets_fullband.noise_fullband.audioset_000.tar.bz2"], 1),
        ([], 0),
    ],
)
def test_archives_are_selected_by_name_pattern_and_language(select, count):
    chosen = dns4_archives(select)
    assert len(chosen) == count
    assert [item.name for item in chosen] == [name for name in dns4_names() if name in {item.name for item in chosen}]


def test_languages_share_no_archive():
    groups = ["english", "french", "german", "italian", "russian", "spanish", "emotional", "singing", "vctk"]
    chosen = [item.name for group in groups for item in dns4_archives([group])]
    assert sorted(chosen) == sorted(item.name for item in dns4_archives(["speech"]))


def test_selector_without_a_match_is_named_with_what_there_is():
    with pytest.raises(SpandexError, match=r"'klingon'.*english, french, german.*127 archives such as"):
        dns4_archives(["german", "klingon"])
