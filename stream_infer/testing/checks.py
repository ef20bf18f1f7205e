"""The one way in which a suite fails: with a sentence."""

from __future__ import annotations


def require(condition: object, sentence: str) -> None:
    """Raises AssertionError with the sentence unless the condition holds; `python -O` does not silence it."""
    if not condition:
        raise AssertionError(sentence)
