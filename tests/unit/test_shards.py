from spandex.data.shards import reopen


def test_markers_of_an_unfinished_build_are_removed_and_what_shards_made_is_kept(tmp_path):
    data, reports = tmp_path / "data", tmp_path / "reports"
    made = [
        data / "train/.shards/1-of-2/noisy/clip.wav",
        reports / "evaluate/.shards/noisy/1-of-2.jsonl",
        reports / "evaluate/.shards/prune90/1-of-2.jsonl",
    ]
    markers = [
        data / "train/.shards/1-of-2.done",
        reports / "evaluate/.shards/noisy/1-of-2.done",
        reports / "evaluate/.shards/prune90/1-of-2.done",
    ]
    for path in [*made, *markers]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    reopen(data, reports, tmp_path / "missing")
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(made)
