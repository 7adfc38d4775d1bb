"""The public collections by name: their repositories, splits, licences and instructions.

Facts of MTEB's tasks are those of mteb 2.26 (the tasks of BEIR share them by content, and those of
CQADupStack its repositories, since BEIR's own has another layout); NanoBEIR's
repository and candidates are those of the evaluator of sentence-transformers 6.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ettin_cli.errors import CorpusError

NANOBEIR = "nanobeir"
FAMILIES = (NANOBEIR, "beir", "mteb")
# BEIR's figure of it is the mean over its subforums.
CQADUPSTACK = "beir/cqadupstack"
NANOBEIR_REPOSITORY = "sentence-transformers/NanoBEIR-en"
# Left out of the mean of sentence-transformers' evaluator: arguments are another kind of task.
ARGUMENTS = ("nanobeir/arguana", "nanobeir/touche2020")
# What mteb instructs an embedder to do if a task has no instruction of its own.
USUAL_INSTRUCTION = "Retrieve text based on user query."
UNSTATED = "not specified"


@dataclass(frozen=True, slots=True)
class Collection:
    """A public collection: documents, queries and judgements in dataset repositories.

    Args:
        name: Its family and its own name, as in "beir/scifact".
        repository: The dataset repository with the corpus and the queries.
        revision: A commit; None: the newest at the first download.
        split: The split of the judgements to evaluate on.
        licence: Of the data; UNSTATED if its authors state none.
        instruction: What an embedder that takes instructions is told.
        ignores_own: Whether the document with a query's own id is no hit, as in mteb.
        judgements: The repository of the judgements, if it is another.
        has_candidates: Whether it comes with documents to rerank for each query.
    """

    name: str
    repository: str
    revision: str | None
    split: str
    licence: str
    instruction: str = USUAL_INSTRUCTION
    ignores_own: bool = False
    judgements: str | None = None
    has_candidates: bool = False

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use."""
        return forbids_commerce(self.licence)


_COUNTER = "Given a claim, find documents that refute the claim"
_CLIMATE = "Given a claim about climate change, retrieve documents that support or refute the claim"
_ENTITIES = "Given a query, retrieve relevant entity descriptions from DBPedia"
_CLAIM = "Given a claim, retrieve documents that support or refute the claim"
_FINANCE = "Given a financial question, retrieve user replies that best answer the question"
_HOPS = "Given a multi-hop question, retrieve documents that can help answer the question"
_WEB = "Given a web search query, retrieve relevant passages that answer the query"
_BEST = "Given a question, retrieve relevant documents that best answer the question"
_WIKIPEDIA = "Given a question, retrieve Wikipedia passages that answer the question"
_SAME = (
    "Given a question, retrieve questions that are semantically equivalent to the given question"
)
_CITED = (
    "Given a scientific paper title, retrieve paper abstracts that are cited by the given paper"
)
_SCIENCE = "Given a scientific claim, retrieve documents that support or refute the claim"
_COVID = "Given a query on COVID-19, retrieve documents that answer the query"
_PERSUASIVE = (
    "Given a question, retrieve detailed and persuasive arguments that answer the question"
)


def _beir(
    name: str, licence: str, instruction: str, split: str = "test", *, ignores_own: bool = False
) -> Collection:
    repository = f"BeIR/{name}"
    return Collection(
        name=f"beir/{name}",
        repository=repository,
        revision=None,
        split=split,
        licence=licence,
        instruction=instruction,
        ignores_own=ignores_own,
        judgements=f"{repository}-qrels",
    )


def _cqadupstack(forum: str, revision: str, repository: str | None = None) -> Collection:
    return Collection(
        name=f"{CQADUPSTACK}-{forum}",
        repository=f"mteb/{repository or f'cqadupstack-{forum}'}",
        revision=revision,
        split="test",
        licence=_FREE,
    )


def _nano(split: str, licence: str, instruction: str) -> Collection:
    return Collection(
        name=f"{NANOBEIR}/{split.removeprefix('Nano').lower()}",
        repository=NANOBEIR_REPOSITORY,
        revision=None,
        split=split,
        licence=licence,
        instruction=instruction,
        has_candidates=True,
    )


def _mteb(
    task: str,
    repository: str,
    revision: str,
    licence: str,
    instruction: str = USUAL_INSTRUCTION,
    *,
    ignores_own: bool = False,
) -> Collection:
    return Collection(
        name=f"mteb/{task}",
        repository=f"mteb/{repository}",
        revision=revision,
        split="test",
        licence=licence,
        instruction=instruction,
        ignores_own=ignores_own,
    )


_SHARE, _FREE, _NON_COMMERCIAL = "cc-by-sa-4.0", "apache-2.0", "cc-by-nc-sa-3.0"

COLLECTIONS = {
    collection.name: collection
    for collection in (
        # In the order of sentence-transformers' evaluator.
        _nano("NanoClimateFEVER", _SHARE, _CLIMATE),
        _nano("NanoDBPedia", "mit", _ENTITIES),
        _nano("NanoFEVER", _NON_COMMERCIAL, _CLAIM),
        _nano("NanoFiQA2018", UNSTATED, _FINANCE),
        _nano("NanoHotpotQA", _SHARE, _HOPS),
        _nano("NanoMSMARCO", "msr-la-nc", _WEB),
        _nano("NanoNFCorpus", UNSTATED, _BEST),
        _nano("NanoNQ", _NON_COMMERCIAL, _WIKIPEDIA),
        _nano("NanoQuoraRetrieval", UNSTATED, _SAME),
        _nano("NanoSCIDOCS", _SHARE, _CITED),
        _nano("NanoArguAna", _SHARE, _COUNTER),
        _nano("NanoSciFact", "cc-by-nc-4.0", _SCIENCE),
        _nano("NanoTouche2020", _SHARE, _PERSUASIVE),
        _beir("msmarco", "msr-la-nc", _WEB, "dev", ignores_own=True),
        _beir("trec-covid", UNSTATED, _COVID),
        _beir("nfcorpus", UNSTATED, _BEST),
        _beir("nq", _NON_COMMERCIAL, _WIKIPEDIA),
        _beir("hotpotqa", _SHARE, _HOPS),
        _beir("fiqa", UNSTATED, _FINANCE, ignores_own=True),
        _beir("arguana", _SHARE, _COUNTER, ignores_own=True),
        _beir("webis-touche2020", _SHARE, _PERSUASIVE),
        _beir("quora", UNSTATED, _SAME, ignores_own=True),
        _beir("dbpedia-entity", "mit", _ENTITIES),
        _beir("scidocs", _SHARE, _CITED),
        _beir("fever", _NON_COMMERCIAL, _CLAIM, ignores_own=True),
        _beir("climate-fever", _SHARE, _CLIMATE),
        _beir("scifact", "cc-by-nc-4.0", _SCIENCE),
        _cqadupstack(
            "android", "9be4c0e46342e8e3aff577a89b9a1ec9bc6b4af3", "CQADupstackAndroidRetrieval"
        ),
        _cqadupstack("english", "ad9991cb51e31e31e430383c75ffb2885547b5f0"),
        _cqadupstack("gaming", "4885aa143210c98657558c04aaf3dc47cfb54340"),
        _cqadupstack("gis", "5003b3064772da1887988e05400cf3806fe491f2"),
        _cqadupstack("mathematica", "90fceea13679c63fe563ded68f3b6f06e50061de"),
        _cqadupstack("physics", "79531abbd1fb92d06c6d6315a0cbbbf5bb247ea4"),
        _cqadupstack("programmers", "6184bc1440d2dbc7612be22b50686b8826d22b32"),
        _cqadupstack("stats", "65ac3a16b8e91f9cee4c9828cc7c335575432a2a"),
        _cqadupstack("tex", "46989137a86843e03a6195de44b09deda022eec7"),
        _cqadupstack("unix", "6c6430d3a6d36f8d2a829195bc5dc94d7e063e53"),
        _cqadupstack("webmasters", "160c094312a0e1facb97e55eeddb698c0abe3571"),
        _cqadupstack("wordpress", "4ffe81d471b1924886b33c7567bfb200e9eec5c4"),
        # The retrieval tasks of MTEB(eng, v2).
        _mteb(
            "ArguAna",
            "arguana",
            "c22ab2a51041ffd869aaddef7af8d8215647e41a",
            _SHARE,
            _COUNTER,
            ignores_own=True,
        ),
        _mteb(
            "CQADupstackGamingRetrieval",
            "cqadupstack-gaming",
            "4885aa143210c98657558c04aaf3dc47cfb54340",
            _FREE,
        ),
        _mteb(
            "CQADupstackUnixRetrieval",
            "cqadupstack-unix",
            "6c6430d3a6d36f8d2a829195bc5dc94d7e063e53",
            _FREE,
        ),
        _mteb(
            "ClimateFEVERHardNegatives",
            "ClimateFEVER_test_top_250_only_w_correct-v2",
            "3a309e201f3c2c4b13bd4a367a8f37eee2ec1d21",
            _SHARE,
        ),
        _mteb(
            "FEVERHardNegatives",
            "FEVER_test_top_250_only_w_correct-v2",
            "080c9ed6267b65029207906e815d44a9240bafca",
            _NON_COMMERCIAL,
            ignores_own=True,
        ),
        _mteb(
            "FiQA2018",
            "fiqa",
            "27a168819829fe9bcd655c2df245fb19452e8e06",
            UNSTATED,
            _FINANCE,
            ignores_own=True,
        ),
        _mteb(
            "HotpotQAHardNegatives",
            "HotpotQA_test_top_250_only_w_correct-v2",
            "617612fa63afcb60e3b134bed8b7216a99707c37",
            _SHARE,
        ),
        _mteb("SCIDOCS", "scidocs", "f8c2fcf00f625baaa80f62ec5bd9e1fff3b8ae88", _SHARE, _CITED),
        _mteb(
            "TRECCOVID", "trec-covid", "bb9466bac8153a0349341eb1b22e06409e78ef4e", UNSTATED, _COVID
        ),
        _mteb(
            "Touche2020Retrieval.v3",
            "webis-touche2020-v3",
            "431886eaecc48f067a3975b70d0949ea2862463c",
            _SHARE,
        ),
    )
}


def forbids_commerce(licence: str) -> bool:
    """Return whether a licence forbids commercial use."""
    return "nc" in licence.split("-")


def licence_in_words(licence: str) -> str:
    """Return what to say of a licence.

    >>> licence_in_words("cc-by-nc-4.0")
    'licence cc-by-nc-4.0, which forbids commercial use'
    """
    if licence == UNSTATED:
        return "no licence is stated"
    return f"licence {licence}" + ", which forbids commercial use" * forbids_commerce(licence)


def is_collection_name(text: str) -> bool:
    """Return whether a text has the form of a collection's name, known or not."""
    return text.partition("/")[0].lower() in FAMILIES


def named(text: str) -> tuple[Collection, str]:
    """Return the collection of a name, in any case, and the split to use.

    Args:
        text: As in "beir/scifact", or with a split as in "beir/scifact:train".

    Raises:
        CorpusError: There is no such collection; the fields have the nearest names.
    """
    name, _, split = text.partition(":")
    if members := family(name):
        names = [one.name for one in members]
        raise CorpusError(
            f"{name} is {len(names)} collections", code="unknown-collection", nearest=names
        )
    found = {one.lower(): collection for one, collection in COLLECTIONS.items()}.get(name.lower())
    if found is None:
        raise CorpusError(
            f"no collection {name!r}", code="unknown-collection", name=name, nearest=_nearest(name)
        )
    return found, split or found.split


def namesakes(text: str) -> list[str]:
    """Return the names of collections that have this name in their families."""
    return [name for name in COLLECTIONS if name.partition("/")[2].lower() == text.lower()]


def family(name: str) -> list[Collection]:
    """Return the collections of a family, as in "nanobeir", or of "beir/cqadupstack"."""
    begins = name.lower() + ("-" if name.lower() == CQADUPSTACK else "/")
    return [one for one in COLLECTIONS.values() if one.name.startswith(begins)]


def _nearest(name: str) -> Sequence[str]:
    """Return the names that a misspelt one may stand for; those of its family if none is near."""
    import difflib

    known = {one.lower(): one for one in COLLECTIONS}
    if near := difflib.get_close_matches(name.lower(), known, 3, 0.7):
        return [known[one] for one in near]
    return [one.name for one in family(name.partition("/")[0])]
