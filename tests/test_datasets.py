"""Datasets of the hub to train on: their tables, samples, and rows in the order of an epoch."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ettin_cli.collections import Table, open_dataset
from ettin_cli.commands.hints import hint_of
from ettin_cli.corpus import batch_rows
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.models.transfers import REQUESTING, each_requested
from ettin_cli.training import DataRequest, read_data, usable_tables
from ettin_cli.training.column_types import unfit_column
from ettin_cli.training.mixture import Mixture
from ettin_cli.training.rows import Example
from ettin_cli.training.sampling import Shares, chosen_rows, shares
from ettin_cli.training.windows import TrainingData
from tests.dataset_repositories import SHARDS, TRAINED_ON, card, pairs, parquet, training_data
from tests.hub_server import Fault, Hub, Repository
from tests.indexes import Notices

NAME = f"datasets/{TRAINED_ON}"
ROWS = {config: sum(counts) for config, counts in SHARDS.items()}
EVERY = sum(ROWS.values())


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub({NAME: Repository(training_data())}) as hub:
        hub.serve(monkeypatch, tmp_path)
        yield hub


def tables(
    *names: str, loss: str | None = None, offline: bool = False, notices: Notices | None = None
) -> list[Table]:
    named = names or (TRAINED_ON,)
    return usable_tables(named, loss, offline=offline, reporter=notices or Notices())


def request(sample: int | None = None, *, seed: int = 12, offline: bool = False) -> DataRequest:
    return DataRequest([], tables(offline=offline), None, sample, seed)


def problem(*names: str, loss: str | None = None, offline: bool = False) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        tables(*names, loss=loss, offline=offline)
    return caught.value


def downloaded(hub: Hub) -> list[str]:
    """Return the shards that were downloaded; of others, only the end is requested."""
    heads = [one for one in hub.asked("HEAD") if one.endswith(".parquet")]
    return ["/".join(one.split("/")[-2:]) for one in heads]


# Tables


def test_a_dataset_has_its_training_splits_and_nothing_is_downloaded(hub: Hub) -> None:
    notices = Notices()
    found = tables(notices=notices)
    assert {one.name: one.rows for one in found} == {
        f"{TRAINED_ON}/{config}": rows for config, rows in ROWS.items()
    }
    assert {one.name.rpartition("/")[2]: len(one.shards) for one in found} == {
        config: len(counts) for config, counts in SHARDS.items()
    }
    assert found[0].columns == ["query", "document", "label"]
    assert not downloaded(hub)
    assert notices.said == [
        f"{TRAINED_ON}: licence apache-2.0",
        f"{TRAINED_ON}/quora: not trained on: validation",
        f"{TRAINED_ON}/texts is left out: its columns are text, label",
    ]


def test_what_is_known_of_a_dataset_needs_no_request(hub: Hub) -> None:
    first = tables()
    asked = hub.asked()
    assert [(one.name, one.shards) for one in tables(offline=True)] == [
        (one.name, one.shards) for one in first
    ]
    assert hub.asked() == asked


def test_a_configuration_is_opened_alone(hub: Hub) -> None:
    [found] = tables(f"{TRAINED_ON}/reddit")
    assert (found.name, found.rows) == (f"{TRAINED_ON}/reddit", 88)
    ends = [one for one in hub.asked("GET") if one.endswith(".parquet")]
    assert len(ends) == 3
    with pytest.raises(InvalidArgumentError, match="reddit is given twice"):
        tables(TRAINED_ON, f"{TRAINED_ON}/reddit")


def test_a_footer_longer_than_usual_is_requested_once_more(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ettin_cli.collections.footers.USUAL_BYTES", 100)
    [found] = tables(f"{TRAINED_ON}/agnews")
    assert found.rows == 40
    ranges = [
        one.headers["range"] for one in hub.requests if one.host == "cdn" and one.method == "GET"
    ]
    assert len(ranges) == 2


def test_tables_are_those_that_the_loss_can_use(hub: Hub) -> None:
    rows = [{"query": "a", "positive": "b", "negative_1": "c", "negative_2": "d"}] * 4
    hub.repositories["datasets/some/mined"] = Repository(
        {"README.md": b"", "mined/train.parquet": parquet(rows), "other/train.jsonl": b"{}"}
    )
    notices = Notices()
    [found] = tables("some/mined", notices=notices)
    assert found.rows == 4
    assert notices.said == [
        "some/mined: no licence is stated",
        "some/mined/other is left out: other/train.jsonl is not Parquet",
    ]
    error = problem("some/mined", loss="mse")
    assert "the loss mse needs scores" in error.problem
    error = problem(loss="margin-mse")
    assert "compares documents of a query, and rows are read one by one" in error.problem


def test_a_stated_configuration_without_files_is_left_out_with_the_reason(hub: Hub) -> None:
    rows = parquet(pairs("a", 0, 2))
    files = {"README.md": card({"a": {"train": "a/*"}, "b": {"train": "b/*"}}), "a/x.parquet": rows}
    hub.repositories["datasets/some/half"] = Repository(files)
    notices, reason = Notices(), "none of the files that the dataset card states is in"
    [found] = tables("some/half", notices=notices)
    assert found.name == "some/half/a"
    assert f"some/half/b is left out: {reason} the repository" in notices.said
    assert reason in problem("some/half/b").problem


def test_footers_read_before_one_that_fails_are_remembered(hub: Hub) -> None:
    last = "reddit/train-00002-of-00003.parquet"
    hub.faults = [Fault(f"GET .*{last}", status=404)]
    problem(f"{TRAINED_ON}/reddit")
    hub.faults.clear()
    before = len(hub.asked("GET"))
    tables(f"{TRAINED_ON}/reddit")
    ends = [one for one in hub.asked("GET")[before:] if one.endswith(".parquet")]
    assert ["/".join(one.split("/")[-2:]) for one in ends] == [last]


def test_a_remembered_commit_that_is_gone_is_asked_for_again(hub: Hub) -> None:
    [before] = tables(f"{TRAINED_ON}/agnews")
    hub.repositories[NAME] = Repository({**training_data(), "more.txt": b""})
    notices = Notices()
    [found] = tables(f"{TRAINED_ON}/quora", notices=notices)
    assert found.files.commit == hub.repositories[NAME].commit
    gone = f"the hub no longer has the commit {before.files.commit} of the dataset {TRAINED_ON}"
    assert f"{gone}; reading the newest" in notices.said
    # Its rows are never read beside those of another commit.
    with pytest.raises(CorpusError, match=gone) as caught:
        before.files.paths([before.shards[0].name])
    assert caught.value.code == "collection-changed"


@pytest.mark.parametrize("fault", [{"drop": True}, {"status": 503}, {"status": 429}])
def test_an_outage_while_footers_are_read_is_told_once(hub: Hub, fault: dict[str, Any]) -> None:
    tables(f"{TRAINED_ON}/quora")
    hub.faults = [Fault("GET .*/reddit/", headers={"Retry-After": "60"}, **fault)]
    before = len(hub.requests)
    first = "reddit/train-00000-of-00003.parquet of the dataset"
    error = problem(f"{TRAINED_ON}/reddit")
    asked = hub.asked()[before:]
    # One cut-off connection is tried again, and no other file is asked for.
    assert len(asked) == (2 if "drop" in fault else 1)
    assert error.problem.startswith(f"{first} {TRAINED_ON} is not on this machine and the hub ")
    assert (
        error.code
        == {None: "collection-unavailable", 503: "hub-failed", 429: "hub-busy"}[fault.get("status")]
    )
    again = problem(f"{TRAINED_ON}/reddit")
    assert (again.code, len(hub.requests)) == (error.code, before + len(asked))
    # What is known needs no hub.
    assert tables(f"{TRAINED_ON}/quora")


def test_reading_footers_can_be_interrupted_while_the_hub_is_silent() -> None:
    held, asked = threading.Event(), threading.Event()

    def request(name: str) -> str:
        if name != "a":
            asked.set()
            held.wait()
        return name

    answers = each_requested(request, ["a", "b", "c"])
    assert next(answers) == ("a", "a")
    assert asked.wait(60)
    silent = [one for one in threading.enumerate() if one.name.startswith(REQUESTING)]
    # No end of a process waits for these.
    assert silent
    assert all(one.daemon for one in silent)
    answers.close()
    held.set()


def test_answers_come_in_order_and_an_error_ends_the_requests() -> None:
    asked: list[str] = []

    def request(name: str) -> str:
        asked.append(name)
        if name == "2":
            raise ValueError(name)
        return name.upper()

    names = [str(number) for number in range(1000)]
    answers = each_requested(request, names)
    assert [next(answers), next(answers)] == [("0", "0"), ("1", "1")]
    with pytest.raises(ValueError, match="2"):
        next(answers)
    assert len(asked) < 1000
    assert list(each_requested(str.upper, ["a"])) == [("a", "A")]
    assert list(each_requested(str.upper, [])) == []


# Bad input


def test_datasets_that_cannot_be_had_are_said_in_one_line(hub: Hub) -> None:
    hub.repositories["datasets/some/texts"] = Repository(
        {"README.md": b"---\nlicense: mit\n---\n", "data/train.parquet": parquet([{"text": "a"}])}
    )
    hub.repositories["datasets/some/gated"] = Repository(training_data(), gated=True)
    cases = {
        "some/nothing": ("the hub has no dataset some/nothing", "hf auth login"),
        "some/gated": ("the dataset some/gated is gated", "https://huggingface.co/datasets/some/g"),
        "some/texts": ("nothing in some/texts can be trained on: some/texts/default: its col", "a"),
        f"{TRAINED_ON}/redit": (f"{TRAINED_ON} has no configuration 'redit'", "/reddit"),
    }
    for name, (said, hint) in cases.items():
        error = problem(name)
        assert error.problem.startswith(said)
        assert "\n" not in error.problem
        assert hint in (hint_of(error) or "")
    assert problem("some/else", offline=True).problem == (
        "the dataset some/else is not on this machine, and the network is disabled"
    )


def test_half_of_it_cached_is_said_before_training_offline(hub: Hub) -> None:
    with read_data(request(), Notices()) as data:
        data.prepare(0, 32, 12, 0)
    assert len(downloaded(hub)) == 3
    problem = "reddit/train.*is not on this machine, and the network is disabled"
    with pytest.raises(CorpusError, match=problem), read_data(request(offline=True), Notices()):
        pass


def test_a_disk_without_room_is_said_before_the_download(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, problem = request(), f"{TRAINED_ON} takes 1 MB, and 0 MB are free$"
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with (
        pytest.raises(CorpusError, match=problem) as caught,
        read_data(wanted, Notices()),
    ):
        pass
    assert "HF_HUB_CACHE" in (hint_of(caught.value) or "")
    assert not downloaded(hub)


# Samples


def test_shares_are_in_proportion_and_add_up() -> None:
    rng = np.random.default_rng(3)
    for total in (1, 7, 100):
        sizes = rng.integers(1, 1000, 9).tolist()
        found = shares(total, sizes)
        assert sum(found) == total
        for share, size in zip(found, sizes, strict=True):
            assert abs(share - total * size / sum(sizes)) < 1


def test_a_sample_is_of_few_shards_and_chosen_by_the_seed(hub: Hub) -> None:
    [reddit] = tables(f"{TRAINED_ON}/reddit")
    [one] = chosen_rows(reddit, 9, 12)
    assert one.numbers is not None
    assert len(set(one.numbers.tolist())) == 9
    assert 0 <= one.numbers.min() <= one.numbers.max() < one.shard.rows
    [again], [other] = chosen_rows(reddit, 9, 12), chosen_rows(reddit, 9, 13)
    assert again.shard == one.shard
    assert again.numbers is not None
    assert other.numbers is not None
    assert again.numbers.tolist() == one.numbers.tolist() != other.numbers.tolist()
    assert len(chosen_rows(reddit, 40, 12)) == 2
    every = chosen_rows(reddit, 88, 12)
    assert [(c.shard, c.numbers) for c in every] == [(shard, None) for shard in reddit.shards]


def test_a_sample_is_in_proportion_and_downloads_only_its_shards(hub: Hub) -> None:
    notices = Notices()
    with read_data(request(30), notices) as data:
        assert len(data) == 30
        assert notices.said == [
            "30 of 152 rows of 3 of 3 configurations: 3 of 5 files, 1 MB to download"
        ]
        rows = texts(data, 8)
    assert len(set(rows)) == 30
    assert Counter(row.split()[0] for row in rows) == {"agnews": 8, "quora": 5, "reddit": 17}
    assert len(downloaded(hub)) == 3
    with read_data(request(30), Notices()) as again:
        assert (again.digest, texts(again, 8)) == (data.digest, rows)
    with read_data(request(30, seed=13), Notices()) as other:
        assert other.digest != data.digest
        assert set(texts(other, 8)) != set(rows)


# The order of an epoch


def texts(data: TrainingData, size: int, seed: int = 12, epoch: int = 0) -> list[str]:
    found: list[str] = []
    for number in range(-(-len(data) // size)):
        found += map(shown, data.window(number, size, seed, epoch).examples)
    return found


def shown(example: Example) -> str:
    return f"{example.query}|{example.texts[0]}|{example.targets[0]:g}"


def written(config: str) -> Sequence[str]:
    rows = pairs(config, 0, ROWS[config])
    return [f"{row['query']}|{row['document']}|{row['label']:g}" for row in rows]


def test_windows_hold_every_row_once_in_proportion() -> None:
    sizes = [40, 24, 88]
    windows = Shares(sizes, 32, 12, 0)
    found = [windows.of(number) for number in range(5)]
    for at, size in enumerate(sizes):
        ranges = [one[at] for one in found]
        assert (ranges[0][0], ranges[-1][1]) == (0, size)
        assert all(end == begin for (_, end), (begin, _) in pairwise(ranges))
    assert [sum(end - begin for begin, end in one) for one in found] == [32, 32, 32, 32, 24]
    assert [Shares(sizes, 32, 12, 0).of(number) for number in (3, 1)] == [found[3], found[1]]
    assert windows.of(1) == found[1]
    assert Shares(sizes, 32, 12, 1).of(0) != found[0] or Shares(sizes, 32, 12, 1).of(1) != found[1]
    assert Counter(windows.order(2)) == {at: e - b for at, (b, e) in enumerate(found[2])}


def test_an_epoch_has_every_row_once_in_an_order_of_its_own(hub: Hub) -> None:
    with read_data(request(), Notices()) as data:
        first, second = texts(data, 16), texts(data, 16, epoch=1)
    every = [row for config in ROWS for row in written(config)]
    assert len(set(every)) == EVERY
    assert sorted(first) == sorted(second) == sorted(every)
    assert first != second
    # Not one table after another.
    assert len({row.split()[0] for row in first[:16]}) > 1
    with read_data(request(), Notices()) as again:
        last = [shown(one) for one in again.window(5, 16, 12, 0).examples]
        before = [shown(one) for one in again.window(2, 16, 12, 0).examples]
    assert (before, last) == (first[32:48], first[80:96])


def test_shards_are_downloaded_as_they_are_needed_and_one_ahead(hub: Hub) -> None:
    with read_data(request(), Notices()) as data:
        assert isinstance(data, Mixture)
        reddit = data.tables[2]
        order = [name for _, _, name in reddit.spans(12, 0)]
        data.prepare(0, 16, 12, 0)
        first = {f"{config}/train-00000-of-00001.parquet" for config in ("agnews", "quora")}
        assert set(downloaded(hub)) == {*first, order[0]}
        for number in range(10):
            data.window(number, 16, 12, 0)
            if data.ahead:
                data.ahead.thread.join()
            [begin, end] = data.windows(16, 12, 0).of(number)[3]
            at = max(order.index(name) for name in reddit.needed(begin, end, 12, 0))
            assert set(downloaded(hub)) == {*first, *order[: at + 2]}
    # Nothing twice.
    assert len(downloaded(hub)) == 5


def test_waiting_for_a_shard_can_be_interrupted(hub: Hub) -> None:
    held = threading.Event()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with read_data(request(), Notices()) as data:
        assert isinstance(data, Mixture)
        data.prepare(0, 16, 12, 0)
        hub.faults = [Fault("HEAD .*/reddit/train-", hold=held)]
        data.between = interrupt
        with pytest.raises(KeyboardInterrupt):
            for number in range(10):
                data.window(number, 16, 12, 0)
        held.set()
        assert data.ahead
        data.ahead.thread.join()


def test_a_download_ahead_that_fails_is_said_and_tried_once(hub: Hub) -> None:
    notices = Notices()
    with read_data(request(), notices) as data:
        assert isinstance(data, Mixture)
        data.prepare(0, 16, 12, 0)
        hub.faults = [Fault("HEAD .*/reddit/train-", status=404)]
        before = len(downloaded(hub))
        for number in range(2):
            data.window(number, 16, 12, 0)
            assert data.ahead
            data.ahead.thread.join()
        assert len(downloaded(hub)) == before + 1
        assert len([one for one in notices.said if one.endswith(" ahead")]) == 1
        assert len([one for one in notices.said if one.endswith("when it is needed")]) == 1
        hub.faults.clear()
        for number in range(2, 10):
            data.window(number, 16, 12, 0)


def test_a_shard_is_read_in_batches_even_if_it_is_one_row_group(tmp_path: Path) -> None:
    letters = np.random.default_rng(1).integers(97, 123, 24_000_000, np.uint8).tobytes().decode()
    texts = [letters[begin : begin + 1000] for begin in range(0, len(letters), 1000)]
    path = tmp_path / "shard.parquet"
    pq.write_table(pa.table({"text": texts}), path, row_group_size=len(texts))
    before = pa.total_allocated_bytes()
    rows = batch_rows(path, 0, len(texts))
    assert next(rows)[0] == {"text": texts[0]}
    assert pa.total_allocated_bytes() - before < 12_000_000 < path.stat().st_size


def test_files_and_datasets_are_mixed(hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(
        "".join(f'{{"query": "own {n}", "text": "b", "label": {n}}}\n' for n in range(40))
    )
    own = DataRequest([path], tables(f"{TRAINED_ON}/agnews"), None, None, 12)
    with read_data(own, Notices()) as data:
        rows = texts(data, 16)
        assert [file.scored for file in data.files] == [40, 40]
    assert Counter(row.split()[0] for row in rows) == {"own": 40, "agnews": 40}
    assert len(set(rows)) == 80
    assert len({row.split()[0] for row in rows[:16]}) == 2
    with read_data(DataRequest([path], [], None, 10, 12), Notices()) as sampled:
        assert len(set(texts(sampled, 16))) == len(sampled) == 10
        assert sampled.available == 40


def test_a_window_without_enough_examples_is_an_error(hub: Hub) -> None:
    from ettin_cli.training.batches import steps

    rows = [{"query": "", "document": "b", "label": 1.0}] * 20
    hub.repositories["datasets/some/empty"] = Repository({"data/train.parquet": parquet(rows)})
    wanted = DataRequest([], tables("some/empty"), None, None, 12)
    notices = Notices()
    with (
        read_data(wanted, notices) as data,
        pytest.raises(
            CorpusError, match=r"20 hold no example; the first is some/empty/.*\(row 1\)$"
        ),
    ):
        next(steps(data, lambda _: ([], []), 4, 12, 0))
    assert not [one for one in notices.said if one.startswith("rejected")]


def test_a_type_that_no_row_can_be_read_of_is_said_before_any_row(hub: Hub) -> None:
    good, bad = pairs("a", 0, 2), [{"query": 1, "document": "b", "label": 1.0}]
    mined, other = [{"query": "a", "positive": "b", "negatives": [1]}], [{"text": "a"}]
    no_text = "the column query has the type int64, not string"
    cases = {
        "one": ([bad], f"{no_text}, in data/train-00000-of-00001.parquet"),
        "last": ([good, bad], f"{no_text}, in data/train-00001-of-00002.parquet"),
        "mined": (
            [mined],
            "the column negatives has the type list<element: int64>, not string or list of "
            "strings, in data/train-00000-of-00001.parquet",
        ),
        "other": ([good, other], "the columns of data/train-00001-of-00002.parquet are text"),
    }
    for name, (shards, reason) in cases.items():
        hub.repositories[f"datasets/some/{name}"] = Repository(
            {
                f"data/train-{at:05}-of-{len(shards):05}.parquet": parquet(rows)
                for at, rows in enumerate(shards)
            }
        )
        error = problem(f"some/{name}")
        head = f"nothing in some/{name} can be trained on: some/{name}/default"
        assert (error.code, error.problem) == ("invalid-examples", f"{head}: {reason}")
    assert not downloaded(hub)


@pytest.mark.parametrize(
    ("kinds", "unfit"),
    [
        (("string", "large_string", "double"), None),
        (("dictionary<values=string, indices=int32, ordered=0>", "string", "int8"), None),
        (("struct<id: string, text: string>", "binary", "decimal128(5, 2)"), None),
        (("timestamp[ns]", "string_view", "string"), None),
        (("string", "struct<id: string, text: string>", "double"), "document"),
        (("bool", "string", "double"), "query"),
        (("null", "string", "double"), "query"),
        (("string", "list<element: string>", "double"), "document"),
        (("string", "string", "bool"), "label"),
        (("string", "string", "large_list<item: double>"), "label"),
    ],
)
def test_the_types_of_columns_are_those_of_rows(
    kinds: tuple[str, str, str], unfit: str | None
) -> None:
    found = unfit_column(dict(zip(("query", "document", "label"), kinds, strict=True)))
    assert (found or "").startswith(f"the column {unfit} has the type" if unfit else "")
    assert (found is None) == (unfit is None)


def test_a_table_without_an_example_ends_the_run_in_one_line(hub: Hub) -> None:
    none = [{"query": "", "document": "b", "label": 1.0}] * 120
    hub.repositories["datasets/some/none"] = Repository({"data/train.parquet": parquet(none)})
    mixed, notices = tables("some/none", f"{TRAINED_ON}/reddit"), Notices()
    wanted = DataRequest([], mixed, None, None, 12)
    error = "none of the first 100 rows read of some/none/default is an example; the first is some/"
    with read_data(wanted, notices) as data, pytest.raises(CorpusError, match=error) as caught:
        texts(data, 52)
    assert caught.value.problem.endswith(
        'data/train.parquet: "query" is empty or not a string (row 1)'
    )
    assert not [one for one in notices.said if one.startswith("rejected")]


def test_rows_that_a_resumed_run_begins_with_are_not_the_first(hub: Hub) -> None:
    rows = pairs("a", 0, 160)
    for row in rows[32:]:
        row["query"] = ""
    hub.repositories["datasets/some/half"] = Repository({"data/train.parquet": parquet(rows)})
    notices = Notices()
    with read_data(DataRequest([], tables("some/half"), None, None, 12), notices) as data:
        assert [data.window(at, 32, 12, 0).rejected for at in range(1, 5)] == [32] * 4
    assert len([one for one in notices.said if one.startswith("rejected")]) == 128


def test_refused_rows_before_the_first_example_are_reported_with_it(hub: Hub) -> None:
    rows = pairs("a", 0, 40)
    for number in (0, 1, 39):
        rows[number]["query"] = ""
    few = [{"query": "", "document": "b", "label": 1.0}] * 3
    hub.repositories["datasets/some/late"] = Repository(
        {"late/train.parquet": parquet(rows), "few/train.parquet": parquet(few)}
    )
    notices = Notices()
    with read_data(DataRequest([], tables("some/late"), None, None, 12), notices) as data:
        assert len(texts(data, 8)) == 37
    told = [one.partition(": ")[0] for one in notices.said if one.startswith("rejected")]
    assert Counter(told) == {
        "rejected some/late/late/train.parquet": 3,
        "rejected some/late/few/train.parquet": 3,
    }


def test_opening_reports_a_licence_that_forbids_commercial_use(hub: Hub) -> None:
    card = b"---\nlicense: cc-by-nc-4.0\n---\n"
    files = {"README.md": card, "data/train.parquet": parquet(pairs("a", 0, 2))}
    hub.repositories["datasets/some/nc"] = Repository(files)
    notices = Notices()
    assert open_dataset("some/nc", offline=False, reporter=notices).tables
    assert notices.said == ["some/nc: licence cc-by-nc-4.0, which forbids commercial use"]


@pytest.mark.hub
def test_the_data_of_the_release_is_as_its_model_cards_say() -> None:
    found = tables(loss="mse")
    assert len(found) == 39
    assert {tuple(one.columns) for one in found} == {("query", "document", "label")}
    assert sum(one.rows for one in found) == 143_393_475
    [smallest] = tables(f"{TRAINED_ON}/rerank_fiqa", loss="mse")
    with read_data(DataRequest([], [smallest], "mse", 64, 12), Notices()) as data:
        rows = texts(data, 64)
    assert len(set(rows)) == 64
