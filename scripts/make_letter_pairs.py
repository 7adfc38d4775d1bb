"""Count the pairs of letters of many languages, from which a text's encoding is guessed.

    pip download --no-deps --no-binary langdetect langdetect==1.0.9   # and unpack it
    pip download --no-deps django==5.2.19                             # and unpack it
    python scripts/make_letter_pairs.py langdetect-1.0.9/langdetect/profiles django

The table goes to ettin_cli/data/: for each language, the pairs by frequency class. A pair of class
n is about every 2^(n+3)rd of all pairs. The same input gives the same bytes.
"""

import json
import math
import re
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

from ettin_cli.corpus.letters import CLASSES, LETTER_PAIRS, RAREST_BITS

TABLE = Path(__file__).parents[1] / "ettin_cli" / "data" / LETTER_PAIRS
PROFILES = (
    "en fr es it pt de nl sv da no fi ca af cy sq sw id tl pl cs sk hu ro sl hr tr lt lv et "
    "ru uk bg mk el he ar fa"
).split()
TRANSLATIONS = "is eu ga gd gl fy br ast hsb dsb az eo be sr".split()
# Legacy encodings have the cedillas only.
CEDILLAS = str.maketrans("șțȘȚ", "şţŞŢ")
MESSAGE = re.compile(r'^msgstr(?:\[\d\])? ((?:"(?:[^"\\]|\\.)*"\n?)+)', re.MULTILINE)


def profile_pairs(path: Path) -> Counter[str]:
    """Return the pairs of a profile of langdetect, in lower case."""
    pairs: Counter[str] = Counter()
    for gram, count in json.loads(path.read_text(encoding="utf-8"))["freq"].items():
        if len(gram) == 2:
            pairs[gram.lower().translate(CEDILLAS)] += count
    return pairs


def translated_pairs(folder: Path, language: str) -> Counter[str]:
    """Return the pairs of Django's translations into a language, in lower case."""
    pairs: Counter[str] = Counter()
    for path in sorted(folder.rglob(f"locale/{language}/LC_MESSAGES/*.po")):
        for message in MESSAGE.finditer(path.read_text(encoding="utf-8", errors="replace")):
            text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', message[1])).replace("\\n", " ")
            text = re.sub(r"%\(\w+\)[sd]|%[sd]|\{\w*\}|<[^>]*>", "", text)
            if "Content-Type" not in text:
                text = " ".join(re.split(r"[\W\d_]+", f" {text.lower()} "))
                pairs.update(map("".join, pairwise(text)))
    return pairs


def classes(pairs: Counter[str]) -> list[str]:
    """Return the pairs of letters and word boundaries of each class, joined."""
    kept = {
        pair: count
        for pair, count in pairs.items()
        if all(one == " " or one.isalpha() for one in pair) and "一" not in pair
    }
    total = sum(kept.values())
    joined = [""] * CLASSES
    for pair in sorted(kept):
        bits = -math.log2(kept[pair] / total)
        if bits < RAREST_BITS and pair != "  ":
            joined[min(CLASSES, max(1, round(bits) - 3)) - 1] += pair
    return joined


def main() -> None:
    """Write the table."""
    profiles, django = map(Path, sys.argv[1:3])
    table = {name: classes(profile_pairs(profiles / name)) for name in PROFILES}
    table |= {name: classes(translated_pairs(django, name)) for name in TRANSLATIONS}
    lines = (f"{json.dumps(name)}: {json.dumps(table[name], ensure_ascii=False)}" for name in table)
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(table)} languages -> {TABLE}")


if __name__ == "__main__":
    main()
