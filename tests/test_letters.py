"""Short texts of many languages are decoded from their usual single-byte encodings."""

import pytest

from ettin_cli.corpus.content import decode

# Article 1 of the Universal Declaration of Human Rights, which is in the public domain.
TEXTS = {
    "French": (
        "cp1252",
        "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués "
        "de raison et de conscience et doivent agir les uns envers les autres dans un esprit de "
        "fraternité.",
    ),
    "Spanish": (
        "cp1252",
        "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como "
        "están de razón y conciencia, deben comportarse fraternalmente los unos con los otros.",
    ),
    "Portuguese": (
        "cp1252",
        "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de "
        "razão e de consciência, devem agir uns para com os outros em espírito de fraternidade.",
    ),
    "Italian": (
        "cp1252",
        "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di "
        "ragione e di coscienza e devono agire gli uni verso gli altri in spirito di fratellanza.",
    ),
    "German": (
        "cp1252",
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft "
        "und Gewissen begabt und sollen einander im Geiste der Brüderlichkeit begegnen.",
    ),
    "Danish": (
        "cp1252",
        "Alle mennesker er født frie og lige i værdighed og rettigheder. De er udstyret med "
        "fornuft og samvittighed, og de bør handle mod hverandre i en broderskabets ånd.",
    ),
    "Swedish": (
        "cp1252",
        "Alla människor är födda fria och lika i värde och rättigheter. De är utrustade med "
        "förnuft och samvete och bör handla gentemot varandra i en anda av broderskap.",
    ),
    "Finnish": (
        "cp1252",
        "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan. Heille on "
        "annettu järki ja omatunto, ja heidän on toimittava toisiaan kohtaan veljeyden hengessä.",
    ),
    "Icelandic": (
        "cp1252",
        "Hver maður er borinn frjáls og jafn öðrum að virðingu og réttindum. Menn eru gæddir "
        "vitsmunum og samvizku, og ber þeim að breyta bróðurlega hverjum við annan.",
    ),
    "Catalan": (
        "cp1252",
        "Tots els éssers humans neixen lliures i iguals en dignitat i en drets. Són dotats de raó "
        "i de consciència, i han de comportar-se fraternalment els uns amb els altres.",
    ),
    "Irish": (
        "cp1252",
        "Saolaítear na daoine uile saor agus comhionann ina ndínit agus ina gcearta. Tá bauidh an "
        "réasúin agus an choinsiasa acu agus dlíd iad féin d'iompar de mheon bráithreachais.",
    ),
    "Dutch": (
        "cp1252",
        "De coördinatie van ideeën: België en Italië hebben twee zeeën, en één café.",
    ),
    "Polish": (
        "cp1250",
        "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni "
        "obdarzeni rozumem i sumieniem i powinni postępować wobec innych w duchu braterstwa.",
    ),
    "Polish, ISO": (
        "iso8859_2",
        "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni "
        "obdarzeni rozumem i sumieniem i powinni postępować wobec innych w duchu braterstwa.",
    ),
    "Czech": (
        "cp1250",
        "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv. Jsou nadáni rozumem "
        "a svědomím a mají spolu jednat v duchu bratrství.",
    ),
    "Slovak": (
        "cp1250",
        "Všetci ľudia sa rodia slobodní a sebe rovní, čo sa týka ich dôstojnosti a práv. Sú "
        "obdarení rozumom a majú navzájom jednať v bratskom duchu.",
    ),
    "Hungarian": (
        "cp1250",
        "Minden emberi lény szabadon születik és egyenlő méltósága és joga van. Az emberek, ésszel "
        "és lelkiismerettel bírván, egymással szemben testvéri szellemben kell hogy viseltessenek.",
    ),
    "Romanian": (
        "cp1250",
        "Toate fiinţele umane se nasc libere şi egale în demnitate şi în drepturi. Ele sunt "
        "înzestrate cu raţiune şi conştiinţă şi trebuie să se comporte unele faţă de altele în "
        "spiritul fraternităţii.",
    ),
    "Slovene": (
        "cp1250",
        "Vsi ljudje se rodijo svobodni in imajo enako dostojanstvo in enake pravice. Obdarjeni so "
        "z razumom in vestjo in bi morali ravnati drug z drugim kakor bratje. Človečnost žari še.",
    ),
    "Turkish": (
        "cp1254",
        "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana "
        "sahiptirler ve birbirlerine karşı kardeşlik zihniyeti ile hareket etmelidirler.",
    ),
    "Lithuanian": (
        "cp1257",
        "Visi žmonės gimsta laisvi ir lygūs savo orumu ir teisėmis. Jiems suteiktas protas ir "
        "sąžinė ir jie turi elgtis vienas kito atžvilgiu kaip broliai.",
    ),
    "Latvian": (
        "cp1257",
        "Visi cilvēki piedzimst brīvi un vienlīdzīgi savā pašcieņā un tiesībās. Viņi ir apveltīti "
        "ar saprātu un sirdsapziņu, un viņiem jāizturas citam pret citu brālības garā.",
    ),
    "Russian": (
        "cp1251",
        "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены "
        "разумом и совестью и должны поступать в отношении друг друга в духе братства.",
    ),
    "Russian, KOI8": (
        "koi8_r",
        "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены "
        "разумом и совестью и должны поступать в отношении друг друга в духе братства.",
    ),
    "Greek": (
        "cp1253",
        "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. Είναι "
        "προικισμένοι με λογική και συνείδηση, και οφείλουν να συμπεριφέρονται με αδελφοσύνη.",
    ),
}


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("length", [60, 100, 170])
def test_a_short_text_is_read_in_the_encoding_of_its_language(language: str, length: int) -> None:
    encoding, text = TEXTS[language]
    wanted = text[:length]
    assert decode(wanted.encode(encoding)) == wanted


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Mañana por la mañana iré a la reunión. ¿Qué después volvió?"),
        ("cp1252", "Le café ferme à six heures. Voilà où il a été."),
        ("cp1252", "Perché la città è così? Più tardi andrò là."),
        ("cp1252", "LE CAFÉ FERMÉ: ÉTÉ À LA MÊME HEURE"),
        ("cp1252", "Où est-elle passée ?"),
        ("cp1252", "“Già,” disse — e non tornò più…"),
        ("cp1250", "Są oni obdarzeni rozumem"),
        ("cp1250", "ŻÓŁTA ŁÓDŹ PŁYNIE"),
    ],
)
def test_a_sentence_is_enough(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding)) == text
