"""Measure text recognition on pages rendered in several fonts, sizes, resolutions and languages.

    python benchmarks/ocr.py
    python benchmarks/ocr.py --dpi 150 200 300 --sizes 9 12

Needs the extra `ocr`, and on Debian the packages fonts-liberation, fonts-ebgaramond and
fonts-noto-cjk; fonts that are not there are left out. Each page is made to look scanned: tilted by
half a degree, blurred, with noise, and saved as JPEG. Shown are the character error rate (edit
distance by length), the share of words found, and the seconds per page.
"""

import argparse
import io
import time
from collections import Counter, defaultdict
from pathlib import Path
from statistics import mean

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ettin_cli.corpus import recognizing

FOLDER = Path("/usr/share/fonts")
FONTS = {
    "Liberation Serif": "truetype/liberation/LiberationSerif-Regular.ttf",
    "Liberation Sans": "truetype/liberation/LiberationSans-Regular.ttf",
    "Liberation Mono": "truetype/liberation/LiberationMono-Regular.ttf",
    "EB Garamond": "opentype/ebgaramond/EBGaramond12-Regular.otf",
}
CHINESE = {"Noto Serif CJK": "opentype/noto/NotoSerifCJK-Regular.ttc"}
TEXTS = {
    "English": """The harbour office keeps a list of moorings and fees. Visitors pay at the quay
before noon; boats longer than 12.5 m need a berth on the outer pier, which costs £18.40 a night.
Between October and March the office opens on weekdays only, from 9:30 to 16:00. "Leave the
slipway clear," the notice says, and most people do. Diesel, water and gas bottles are sold next
to the workshop (ask for J. Wexford). In a gale from the north-west the ferry turns back, so
check the forecast on channel 16 before you go. Lost property is kept for six weeks in room B7
and then given to the lifeboat shop, whose volunteers quickly sort, fix and label every jacket.""",
    "German": """Die Fähre legt um neun Uhr ab und überquert die schmale Straße zwischen den
Inseln. Größere Fahrzeuge müssen am Vorabend angemeldet werden; für Hunde gilt Leinenpflicht an
Deck. Der Fahrpreis beträgt 14,50 € je Person, Kinder unter sechs Jahren fahren gratis.
Übernachtungsgäste zahlen zusätzlich die Kurtaxe, außer sie besitzen eine Jahreskarte. Bei
Windstärken über acht fällt die Überfahrt aus, was die Wasserschutzpolizei über Funk bekanntgibt.
Gepäckstücke können in Schließfächern aufbewahrt werden (Schlüssel beim Hafenmeister, Zimmer 12).
Die Rückkehr erfolgt spätestens um 18:45 Uhr; wer sie versäumt, muss die Öffnungszeiten der
Jugendherberge beachten.""",
    "French": """Le bac traverse le détroit à neuf heures et revient à la tombée de la nuit. Les
élèves de l'école primaire ne paient pas, à condition d'être accompagnés. Où que vous soyez,
gardez votre reçu : il sera contrôlé à bord. Les vélos coûtent 3,20 € par trajet ; les chiens
doivent être tenus en laisse. Après les fêtes de Noël, le guichet n'ouvre qu'à dix heures, ce qui
a déjà gêné plus d'un voyageur. La forêt près du phare abrite des hérons cendrés, des chênes âgés
et une très vieille chapelle bâtie par des pêcheurs bretons. Ça et là, des panneaux rappellent le
règlement.""",
    "Polish": """Prom odpływa o dziewiątej i wraca wieczorem, jeśli wiatr nie jest zbyt silny.
Dzieci do lat sześciu jeżdżą bezpłatnie, a dorośli płacą 25 złotych. Większe samochody trzeba
zgłosić dzień wcześniej w biurze portu, które mieści się obok dworca. Żeglarze mogą zostać na noc
przy zewnętrznym nabrzeżu, gdzie jest woda, prąd i ogrzewana łazienka. Psy muszą być na smyczy.
Gdy nadciąga sztorm, rejs zostaje odwołany, o czym pasażerowie dowiadują się z tablicy.""",
    "Chinese": "渡轮上午九点开船，傍晚返回。六岁以下儿童免费，成人票价二十五元。大型车辆须提前一天"
    "在港务局登记，办公室位于火车站旁边。狗必须拴好绳子。遇到大风时航班取消，乘客可以在电子屏上"
    "看到通知。图书馆每周一闭馆，其他日子从早上八点开到晚上六点。丢失的物品保存六个星期。",
}
WIDTH_IN, MARGIN_IN = 8.27, 1.0


def main() -> None:
    """Print a table for each of font, size, resolution and language."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dpi", type=int, nargs="+", default=[100, 150, 200, 300])
    parser.add_argument("--sizes", type=float, nargs="+", default=[9, 10, 12, 14])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=recognizing.DETECTED_SIDE)
    parser.add_argument("--languages", nargs="+", default=list(TEXTS))
    parser.add_argument("--clean", action="store_true", help="pages that do not look scanned")
    asked = parser.parse_args()
    engine = recognizing.Engine(asked.threads, asked.side)
    rows: dict[str, dict[str, list[tuple[float, float, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for language in asked.languages:
        for font, path in (CHINESE if language == "Chinese" else FONTS).items():
            if not (FOLDER / path).is_file():
                continue
            for size in asked.sizes:
                for dpi in asked.dpi:
                    found = measure(engine, TEXTS[language], FOLDER / path, size, dpi, asked.clean)
                    rows["dpi"][str(dpi)].append(found)
                    rows["language"][f"{language}, {dpi} dpi"].append(found)
                    rows["font"][f"{font}, {dpi} dpi"].append(found)
                    rows["size"][f"{size:g} pt, {dpi} dpi"].append(found)
    for by, groups in rows.items():
        print(f"| {by} | pages | character errors | words found | s/page |\n|---|---|---|---|---|")
        for name, values in groups.items():
            errors, words, seconds = (mean(column) for column in zip(*values, strict=True))
            print(f"| {name} | {len(values)} | {errors:.2%} | {words:.1%} | {seconds:.2f} |")
        print()


def measure(
    engine: recognizing.Engine, text: str, font: Path, size: float, dpi: int, clean: bool
) -> tuple[float, float, float]:
    """Return the character error rate, the share of words found, and the seconds of a page."""
    text = " ".join(text.split())
    picture = rendered(text, font, size, dpi)
    if not clean:
        picture = scanned(picture, dpi)
    pixels = np.asarray(picture.convert("RGB"))[..., ::-1]
    began = time.perf_counter()
    found = engine.text(pixels)
    seconds = time.perf_counter() - began
    # Chinese has no spaces, so those between lines are ignored.
    spaces = " " if " " in text else ""
    read = spaces.join(found.split())
    words, recognized = Counter(text.split()), Counter(found.split())
    recall = (words & recognized).total() / words.total() if spaces else float("nan")
    return distance(text, read) / len(text), recall, seconds


def rendered(text: str, font: Path, size: float, dpi: int) -> Image.Image:
    """Return the upper half of a page of A4 with a text."""
    drawn = ImageFont.truetype(str(font), round(size * dpi / 72))
    page = Image.new("L", (int(WIDTH_IN * dpi), int(WIDTH_IN * dpi * 0.7)), 255)
    draw = ImageDraw.Draw(page)
    margin, line, top = int(MARGIN_IN * dpi), "", int(MARGIN_IN * dpi)
    words = text.split() if " " in text else list(text)
    space = " " if " " in text else ""
    for word in [*words, ""]:
        longer = f"{line}{space}{word}".strip()
        if word and draw.textlength(longer, font=drawn) <= page.width - 2 * margin:
            line = longer
            continue
        draw.text((margin, top), line, font=drawn, fill=20)
        top, line = top + int(1.3 * size * dpi / 72), word
    return page


def scanned(page: Image.Image, dpi: int) -> Image.Image:
    """Return a page as a scanner might give it."""
    page = page.rotate(0.5, Image.Resampling.BICUBIC, fillcolor=255)
    page = page.filter(ImageFilter.GaussianBlur(dpi / 300))
    noise = np.random.default_rng(12).normal(0, 8, (page.height, page.width))
    grey = np.clip(np.asarray(page) * 0.9 + 15 + noise, 0, 255).astype(np.uint8)
    packed = io.BytesIO()
    Image.fromarray(grey).save(packed, "JPEG", quality=60)
    return Image.open(packed)


def distance(one: str, other: str) -> int:
    """Return the least number of insertions, deletions and substitutions of characters."""
    row = np.arange(len(other) + 1)
    letters = np.array([ord(letter) for letter in other])
    for number, letter in enumerate(one, 1):
        best = np.minimum(row[1:] + 1, row[:-1] + (letters != ord(letter)))
        # Insertions: the running minimum along the row.
        row = np.minimum.accumulate(np.concatenate([[number], best]) - np.arange(len(row)))
        row += np.arange(len(row))
    return int(row[-1])


if __name__ == "__main__":
    main()
