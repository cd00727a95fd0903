"""What texts are made from: templates, and the values that are merged into them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """
    One half of the material; slots such as ``{first}`` stand for values.

    ``pairs_of_one_word`` differ in a word that matters, ``short`` are too short to be judged.
    ``towns`` is None where the towns are those of phonenumbers' data: ten thousand real ones.
    """

    templates: tuple[str, ...]
    pairs_of_one_word: tuple[tuple[str, str], ...]
    ordinary: tuple[str, ...]
    short: tuple[str, ...]
    given: tuple[str, ...]
    family: tuple[str, ...]
    streets: tuple[str, ...]
    suffixes: tuple[tuple[str, str], ...]
    companies: tuple[str, ...]
    towns: tuple[str, ...] | None
