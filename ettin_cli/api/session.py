"""A session: models and settings that calls share."""

from __future__ import annotations

from ettin_cli.api.evaluation import EvaluationCalls
from ettin_cli.api.retrieval import RetrievalCalls
from ettin_cli.api.training import TrainingCalls


class Session(RetrievalCalls, EvaluationCalls, TrainingCalls):
    """Models and settings that calls share; each model is loaded once, when it is first needed.

    Any number of threads may use a session. A call that fails or is cancelled does not end the
    calls of other threads. Nothing is printed: notices and progress go to the reporter.

    Args:
        settings: How models run. None: ETTIN_DEVICE, ETTIN_DTYPE and ETTIN_THREADS apply; without
            them, what is fast and exact on this machine.
        offline: Whether the network is disabled. None: ETTIN_OFFLINE applies.
        reporter: Receives notices, progress and details. None: they are dropped.

    Example:
        >>> with ettin.Session(offline=True) as session:
        ...     reranker = session.reranker("embedded")
        ...     texts = ["Bread at nine.", "It sails at nine."]
        ...     answer = reranker.rank("when does the ferry sail", texts)
        >>> [hit.passage.text for hit in answer.hits]
        ['It sails at nine.', 'Bread at nine.']
    """
