"""Rerankers and backends that another installed package adds, from its entry points to results."""

import json
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.models import ettin as ettin_model
from tests.plugged import ettin_with, install

CORPUS = Path(__file__).parents[1] / "sample_corpora" / "everyday_answers"
QUERY = "when does the ferry sail"
TEXTS = ["The train leaves.", "The ferry does sail at nine.", "", "Knead the dough."]

OVERLAP = """
    import os
    from pathlib import Path

    import numpy as np

    from ettin_cli.records import RerankerCard, Scores, no_progress
    from ettin_cli.models.rerankers import ResolvedReranker

    class Scorer:
        def __init__(self, card):
            self.card = card

        def score(self, pairs, advance=no_progress):
            with Path(os.environ["CALLS"]).open("a") as file:
                file.write(f"{len(pairs)}\\n")
            values = [len(words(query) & words(text)) for query, text in pairs]
            advance(len(pairs))
            cut = [len(text) > self.card.max_tokens for _, text in pairs]
            return Scores(np.array(values, np.float32), np.array(cut))

    def words(text):
        return set(text.lower().strip(".").split())

    class Overlap(ResolvedReranker):
        identity = os.environ.get("IDENTITY", "overlap 1")

        def load(self, settings, reporter, loaded):
            return Scorer(RerankerCard(self.name, "python", 500))

    def find(reference):
        return Overlap(reference.name)
"""


def overlap(query: str, text: str) -> float:
    """Return the scores of the plugin above, computed independently."""
    words = [set(one.lower().strip(".").split()) for one in (query, text)]
    return float(len(words[0] & words[1])) if text.strip() else -1e9


class Installed:
    """`ettin` with a package that adds a reranker, and the number of pairs that it scored."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.site, self.calls = folder, folder / "site", folder / "calls"
        install(self.site, "word-overlap", OVERLAP, {"ettin.rerankers": {"overlap": "find"}})

    def __call__(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        ran = ettin_with(self.site, self.folder, *words, CALLS=str(self.calls), **variables)
        assert "Traceback" not in ran.stderr
        return ran

    def scored(self) -> int:
        """Return how many pairs were scored since the last call."""
        count = sum(map(int, self.calls.read_text().split())) if self.calls.exists() else 0
        self.calls.unlink(missing_ok=True)
        return count


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_it_scores_texts_by_its_name_and_an_empty_one_last(installed: Installed) -> None:
    ran = installed("score", QUERY, *TEXTS, "-r", "overlap", "-f", "jsonl")
    assert (ran.returncode, ran.stderr) == (0, "")
    rows = lines(ran.stdout)
    assert {row["text"]: row["score"] for row in rows} == {
        one: overlap(QUERY, one) for one in TEXTS
    }
    assert rows[0]["text"] == TEXTS[1]
    assert rows[-1]["text"] == ""
    assert installed.scored() == 3


def test_it_scores_a_file_which_is_resumed_unless_its_identity_changed(
    installed: Installed, tmp_path: Path
) -> None:
    rows = [{"query": QUERY, "document": text} for text in TEXTS]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("score", "--pairs", "pairs.jsonl", "-r", "overlap", "-r", "embedded", "-o", "o.jsonl")
    assert installed(*words).returncode == 0
    written = lines((tmp_path / "o.jsonl").read_text())
    assert [row["scores"]["overlap"] for row in written] == [overlap(QUERY, one) for one in TEXTS]
    unfinished(installed, words)
    assert installed(*words, "--resume").returncode == 0
    assert lines((tmp_path / "o.jsonl").read_text()) == written
    unfinished(installed, words)
    refused = installed(*words, "--resume", IDENTITY="overlap 2")
    assert (refused.returncode, "a different input, model or options" in refused.stderr) == (
        1,
        True,
    )


def unfinished(installed: Installed, words: tuple[str, ...]) -> None:
    """Leave the files of a run that failed once it had begun to write."""
    (installed.folder / "o.jsonl").unlink()
    broken = installed.folder / "site" / "sitecustomize.py"
    broken.write_text(
        "import sys\n"
        "from ettin_cli.files.resuming import ResumableFile\n"
        "def interrupted(*_, **__):\n    raise KeyboardInterrupt\n"
        "ResumableFile.complete = interrupted\n"
    )
    try:
        assert installed(*words).returncode == 130
    finally:
        broken.unlink()


def test_it_reranks_a_search_alone_and_in_a_cascade(installed: Installed, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for at, text in enumerate(TEXTS):
        (docs / f"{at}.txt").write_text(f"{text}\n")
    ran = installed("search", QUERY, "docs", "-r", "overlap", "-f", "json")
    assert ran.returncode in (0, 3)
    found = json.loads(ran.stdout)
    assert (found["reranker"], found["engine"]) == ("overlap", "python")
    assert [hit["score"] for hit in found["hits"]] == sorted(
        (overlap(QUERY, text) for text in TEXTS if text), reverse=True
    )
    both = installed("search", QUERY, "docs", "-r", "overlap:1,embedded", "-f", "json")
    cascade = json.loads(both.stdout)
    assert cascade["reranker"] == "overlap:1,embedded"
    assert [stage["kept"] for stage in cascade["stages"]] == [1, 1]
    assert [hit["path"] for hit in cascade["hits"]] == ["docs/1.txt"]


def test_it_is_evaluated_calibrated_and_its_scores_are_kept(
    installed: Installed, tmp_path: Path
) -> None:
    words = ("eval", str(CORPUS), "-r", "overlap", "-c", "5", "-f", "json")
    once = installed(*words, "--calibrate")
    assert once.returncode == 0
    assert installed.scored() > 100
    again = installed(*words)
    assert installed.scored() == 0
    rows = [json.loads(ran.stdout)["systems"] for ran in (once, again)]
    for row in (*rows[0], *rows[1]):
        del row["seconds_per_query"]
    assert rows[0] == rows[1]
    assert [row["reranker"] for row in rows[0]] == ["none", "overlap"]
    installed(*words, IDENTITY="overlap 2")
    assert installed.scored() > 100
    search = ("search", QUERY, str(CORPUS), "-r", "overlap", "-f", "json")
    hits = json.loads(installed(*search).stdout)["hits"]
    assert all(0 <= hit["probability"] <= 1 for hit in hits)
    changed = installed(*search, IDENTITY="overlap 2")
    assert "identity overlap 1 instead of overlap 2" in changed.stderr
    assert not any("probability" in hit for hit in json.loads(changed.stdout)["hits"])


def test_it_reranks_what_was_retrieved_elsewhere(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"query": QUERY, "documents": TEXTS}) + "\n")
    [answer] = lines(installed("rerank", "in.jsonl", "-r", "overlap").stdout)
    assert [hit["score"] for hit in answer["hits"]] == sorted(
        (overlap(QUERY, text) for text in TEXTS), reverse=True
    )


def test_models_lists_and_shows_it_without_importing_it(installed: Installed) -> None:
    (installed.site / "word_overlap.py").write_text("raise AssertionError('it was imported')\n")
    listed = installed("models")
    assert listed.returncode == 0
    assert ["overlap", "word-overlap", "0.1", "yes"] in [
        line.split() for line in listed.stdout.splitlines()
    ]
    assert "word-overlap 0.1" in installed("models", "show", "overlap").stdout


def test_what_needs_a_model_in_a_folder_says_so(installed: Installed) -> None:
    ran = installed("bench", "-r", "overlap")
    assert ran.returncode == 2
    assert "cannot measure overlap: it is not a model folder" in ran.stderr
    ran = installed("score", QUERY, "a text", "-r", "overlap", "--long", "max")
    assert ran.returncode == 1
    assert "overlap cannot score long texts in windows" in ran.stderr


BROKEN = {
    "it cannot be imported": (
        "import no_such_module\n",
        "cannot load the reranker overlap from word-overlap 0.1: ModuleNotFoundError: ",
    ),
    "it has no such function": (
        "",
        "cannot load the reranker overlap from word-overlap 0.1: AttributeError: ",
    ),
    "it is no function": ("find = 7\n", "cannot be called with a reference"),
    "it finds something else": (
        "def find(reference): return 7\n",
        "word_overlap:find, gives int, not a ResolvedReranker",
    ),
    "it fails to find": (
        "def find(reference): raise ValueError('no key')\n",
        "the reranker overlap from word-overlap 0.1 cannot be found: ValueError: no key",
    ),
    "it fails to load": (
        OVERLAP.replace("return Scorer(", "raise OSError('no server'); Scorer("),
        "the reranker overlap from word-overlap 0.1 cannot be loaded: OSError: no server",
    ),
    "it has no card": (
        OVERLAP.replace("self.card = card", "self.card = 'card'"),
        "has no RerankerCard as its card",
    ),
    "it fails to score": (
        OVERLAP.replace("values = [", "raise RuntimeError('quota'); ["),
        "the reranker overlap from word-overlap 0.1 failed to score: RuntimeError: quota",
    ),
    "it gives too few scores": (
        OVERLAP.replace("for query, text in pairs]", "for query, text in pairs[1:]]"),
        "failed to score: ValueError: 2 pairs got scores of shape (1,)",
    ),
    "it gives no number": (
        OVERLAP.replace("len(words(query) & words(text))", "float('nan')"),
        "overlap returned a score that is not a number",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_one_is_one_line_and_hinders_nothing_else(tmp_path: Path, case: str) -> None:
    source, said = BROKEN[case]
    installed = Installed(tmp_path / case.replace(" ", "-"))
    (installed.site / "word_overlap.py").write_text(dedent(source))
    ran = installed("score", QUERY, "a text", "another", "-r", "overlap")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert said in ran.stderr
    assert [line.split(":")[0] for line in ran.stderr.splitlines()][:1] == ["ettin"]
    assert len(ran.stderr.splitlines()) <= 2
    if case == "it cannot be imported":
        assert installed("score", QUERY, "a text", "-r", "embedded").returncode == 0
        assert installed("models").returncode == 0


def test_two_packages_of_one_name_are_refused(installed: Installed) -> None:
    install(installed.site, "other", OVERLAP, {"ettin.rerankers": {"overlap": "find"}})
    ran = installed("score", QUERY, "a text", "-r", "overlap")
    assert ran.returncode == 1
    assert "other 0.1 and word-overlap 0.1 each have the reranker overlap" in ran.stderr


def test_a_folder_and_a_built_in_name_come_before_it(installed: Installed, tmp_path: Path) -> None:
    install(installed.site, "other", "", {"ettin.rerankers": {"embedded": "find", "32m": "find"}})
    assert installed("score", QUERY, "a text", "-r", "embedded").returncode == 0
    assert "is not on this machine" in installed("score", QUERY, "a text", "-r", "32m").stderr
    listed = installed("models")
    assert "the reranker embedded from other 0.1 is not used: embedded is built in" in listed.stderr
    assert listed.stdout.count("\nembedded ") == 1
    (tmp_path / "overlap").mkdir()
    assert "overlap is not a model" in installed("score", QUERY, "a text", "-r", "overlap").stderr


def test_entry_points_are_read_for_unknown_names_alone(tmp_path: Path) -> None:
    counted = (
        "import importlib.metadata, sys\n"
        "def entry_points(**_):\n    sys.stderr.write('read\\n')\n    return []\n"
        "importlib.metadata.entry_points = entry_points\n"
    )
    site = tmp_path / "site"
    install(site, "counted", "", {})
    (site / "sitecustomize.py").write_text(counted)
    ran = ettin_with(site, tmp_path, "score", QUERY, "a text", "-r", "embedded")
    assert (ran.returncode, ran.stderr) == (0, "")
    ran = ettin_with(site, tmp_path, "score", QUERY, "a text", "-r", "somebody/model")
    assert "read" not in ran.stderr
    ran = ettin_with(site, tmp_path, "score", QUERY, "a text", "-r", "unheard-of")
    assert ran.stderr.splitlines()[0] == "read"
    assert "no model 'unheard-of'" in ran.stderr


REFERENCE = """
    import os

    from ettin_cli.models.engines import Backend

    class Unoptimised(Backend):
        title, module = "ONNX Runtime as the graph stands", "onnxruntime"

        def problem(self, settings):
            if settings.dtype not in ("auto", "fp32"):
                return f"it computes in fp32, not {settings.dtype}"

        def library(self, settings):
            return Library()

    class Library:
        backend, plain = "reference cpu float32", True

        def described(self):
            return "every operator by itself"

        def load(self, written, threads, together):
            os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            providers = ["CPUExecutionProvider"]
            graph = written.with_weights()
            return Session(onnxruntime.InferenceSession(graph, options, providers=providers))

    class Session:
        def __init__(self, session):
            self.session = session

        def begin(self):
            return self

        def compute(self, outputs, feeds):
            return self.session.run(list(outputs), dict(feeds))

        def stop(self):
            pass
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ettin_model(tmp_path_factory.mktemp("ettin"), hidden=64, layers=2, heads=2)


QUICK = ("--limit", "3", "--rounds", "1", "--document-tokens", "60", "-f", "jsonl")


def bench_with(site: Path, model: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Measure the model where these packages are installed; its peaks are of small products."""
    small = "from ettin_cli.benchmark import peaks\npeaks.CPU_SIZE = 128\n"
    (site / "sitecustomize.py").write_text(small)
    return ettin_with(site, site.parent, "bench", "-r", str(model), *QUICK, *words)


def test_a_backend_computes_the_scores_of_sentence_transformers(
    tmp_path: Path, model: Path
) -> None:
    site = tmp_path / "site"
    install(site, "slow-reference", REFERENCE, {"ettin.backends": {"reference": "Unoptimised"}})
    ran = bench_with(site, model, "--dtype", "auto", "--dtype", "bf16")
    assert ran.returncode == 0, ran.stderr
    theirs, *others = lines(ran.stdout)
    ours, refused = [row for row in others if row["engine"].startswith("reference")]
    assert theirs["engine"].startswith("sentence-transformers")
    assert ours["engine"] == "reference cpu float32"
    assert ours["max_difference"] < 1e-4
    assert refused["error"] == (
        f"reference cannot run {model.name} here: it computes in fp32, not bf16"
    )
    unknown = bench_with(site, model, "--engine", "nope")
    assert unknown.returncode == 2
    assert unknown.stderr.splitlines() == [
        "ettin: error: unknown engine 'nope'",
        "  hint: auto, torch, onnxruntime, openvino, reference",
    ]


BROKEN_BACKENDS = {
    "missing": (
        "import no_such_module\n",
        "ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "number": (
        "Unoptimised = 7\n",
        "for_number:Unoptimised, is not an ettin_cli.models.engines.Backend",
    ),
    "failing": (
        REFERENCE.replace("return Library()", "raise ValueError('no chip')"),
        "the backend failing from for-failing 0.1 failed: ValueError: no chip",
    ),
}


def test_broken_backends_are_a_line_each_beside_those_that_work(
    tmp_path: Path, model: Path
) -> None:
    site = tmp_path / "site"
    for name, (source, _) in BROKEN_BACKENDS.items():
        install(site, f"for-{name}", source, {"ettin.backends": {name: "Unoptimised"}})
    ran = bench_with(site, model, "--against", "none")
    assert ran.returncode == 0
    rows = {row["engine"]: row["error"] for row in lines(ran.stdout)}
    assert rows["onnxruntime cpu float32"] is None
    for name, (_, said) in BROKEN_BACKENDS.items():
        assert said in rows[name]
    name, (_, said) = next(iter(BROKEN_BACKENDS.items()))
    alone = bench_with(site, model, "--against", "none", "--engine", name)
    assert (alone.returncode, "Traceback" in alone.stderr) == (1, False)
    assert said in alone.stderr
