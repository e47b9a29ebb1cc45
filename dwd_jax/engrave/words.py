"""Words of printed music: languages, names, terms, chord symbols.

Everything is drawn with the random generator that is given.
"""

# ruff: noqa: RUF001 (letters of other scripts are meant)

import random
import re

# Running words by language; they need not make sense together.
_LANGUAGES: dict[str, str] = {
  "de": "die Nacht der Vögel und das Lied im Wald über allen Gipfeln ist Ruh "
  "du bist wie eine Blume schön Lasst Kinder zu mir kommen wehret ihnen nicht "
  "Jünger großer Gott wir loben dich Herr Fräulein süße Träume Öde Äpfel Übung "
  "Vater ohne Worte Apfelbaum Abend Anmut Volk vor Zeiten Königs Vorspiel",
  "en": "the voice of all who love and the old oak above a valley Come away "
  "Ave over hill shadows Every evening I wander alone among flowers O what "
  "joy to have a song Awake my heart Venus vanity have mercy upon us Lord "
  "should be played very evenly at about the same tempo as before Variation",
  "fr": "la nuit où l’âme rêve à l’été Voilà une vieille chanson d’amour "
  "quand vous passez près du château Ô mon cœur Adieu garçon français forêt "
  "André Élégie avec grâce où vas-tu Île déjà Ça noël être Avril voix à",
  "it": "amor che nella mente mi ragiona Vorrei morire O sole Voi che sapete "
  "già la luna è in mezzo al mare Ah non credea perché così Vissi d’arte "
  "Aria della sera più dolce virtù libertà Avanti vieni o cara",
  "la": "Ave verum corpus Agnus Dei qui tollis peccata mundi Kyrie eleison "
  "Gloria in excelsis Deo et in terra pax hominibus Amen Alleluia Salve "
  "Regina Veni Creator Spiritus vox in deserto Ascendit sæcula",
  "es": "La niña que canta en el jardín Ay corazón mañana volverá otra vez "
  "Oí una canción de España ¿dónde está? ¡Olé! Adiós año señor Ángel vida voz",
  "pt": "Não há ilusão coração saudade A canção da manhã Ó mãe avó você João "
  "está além pão vai ver Ação",
  "sv": "Å jäntan å ja på grön äng Över skogen går en älva Åter är våren här "
  "ö och sjö Vem kan segla förutan vind små grodorna",
  "da": "Ørnen fløj over åen Ærø blå bølge Året går så København vær høj",
  "pl": "Żal mój śpiewa łąka Wśród nocnej ciszy głos się Ósma róża Ćma źdźbło "
  "Ach jak mnie wianek Życie zięć świat ojców Aż ów",
  "cs": "Žádná růže kvetla Ó řeko když jsem byl malý Ať žije světlo Ústa dvůr "
  "Čerešně šla panna ve vsi háj můj dům Ávíla",
  "hu": "Árva vagyok Ősz felé Öröm az úton Érik a szőlő hajlik a vessző "
  "tűz fölött Úri hölgy Ez a világ Általános",
  "tr": "Ağlama gönül şu dağlar İstanbul’da bir gün Özledim çok güzel ışık "
  "Aşk Üsküdar’a gider iken Valla",
  "ru": "Ночь тиха Очи чёрные Выхожу один я на дорогу Ой ты степь широкая "
  "Александр Алябьев соловей мой голосистый Во поле берёза стояла Объят "
  "Ах зачем эта ночь Эй ухнем песня южный ветер цветёт щедрый",
  "uk": "Ой у лузі червона калина Ґанок їхав козак Ані мрія є Всюди "
  "Щедрик щедрівочка вітер віє",
  "el": "Ω γλυκύ μου έαρ Αγία Νύχτα η θάλασσα Όμορφη πόλη Άνοιξη φωνές "
  "μουσικές Ύμνος στην Ελευθερία Λόγος Α Λ Δ Θεός ψυχή ξανά Χριστός",
}  # fmt: skip
# How often pages are in a language.
_SHARES = {"de": 5, "en": 6, "fr": 4, "it": 3, "la": 3, "ru": 1.5}
_LATIN = ("de", "en", "fr", "it")

_FORMS = (
  "Aria", "Sonate", "Sonata", "Menuett", "Rondo", "Prélude", "Prelude", "Etude",
  "Étude", "Walzer", "Valse", "Marsch", "Allemande", "Ave Maria", "Adagio",
  "Andante", "Air varié", "Canzona", "Pastorale", "Lied ohne Worte", "Fuga",
  "Variationen", "Quartett", "Symphonie", "Ouvertüre", "Ballade", "Nocturne",
  "Album", "Mazurka", "Volkslied", "Invention", "Toccata", "Requiem", "Hymne",
)  # fmt: skip
_KEYS = (
  "A-Dur", "As-Dur", "a-Moll", "in A major", "in A minor", "en la mineur",
  "in Es", "B-Dur", "in D major", "op. 10", "Op. 33", "Opus 100", "No. 7",
  "Nr. 4", "Nº 5.", "BWV 846", "K. 300", "D. 960", "WoO 59", "I.", "II.", "IV.",
  "VII.", "Vol. IV", "(1803)", "Oeuvre 90.",
)  # fmt: skip
_FIRST = (
  "A.", "J. A.", "Joh.", "V.", "Antonio", "Anton", "Oscar", "Otto", "Charles",
  "André", "Clara", "F.", "Robert", "Louis van", "Václav", "Á.", "Anna", "Olga",
  "O. V.", "Alexandre", "Ivo", "Fr.", "W. A.", "C. Ph. E.",
)  # fmt: skip
_LAST = (
  "Vivaldi", "Albéniz", "Dvořák", "Weber", "Offenbach", "Arnold", "Neveu",
  "Schumann", "Alkan", "Voříšek", "Bach", "Abel", "Keller", "Olsen", "Novák",
  "Viotti", "Adam", "Ávila", "Auber", "Vogel", "Ørsted", "Brandt", "Anonymous",
  "Vaughan", "Aubert", "Oesten", "Bononcini", "Łabuński", "Åkerberg",
)  # fmt: skip
_ROLES = (
  "{}", "{}", "{}", "Musique de {}", "Poésie de {}", "Words by {}", "von {}",
  "Music: {}", "arr. {}", "arranged by {}", "Text: {}", "par {}",
  "{} (1810–56)", "Composed by {}", "revu par {}", "hrsg. von {}",
  "Edited by {}", "traditional", "Volksweise", "trad.", "Hommage à {}",
  "à Madame {}", "dedicated to {}",
)  # fmt: skip
_TEMPI = (
  "Allegro", "Andante", "Adagio", "Presto", "Moderato", "Largo", "Vivace",
  "Lento", "Tempo I", "Con moto", "Allegretto", "Maestoso", "Più mosso",
  "Meno mosso", "Mäßig", "Lebhaft", "Sehr langsam", "Animé", "Assez vif",
  "Frisch und kräftig.", "Swing", "Slowly", "Fast", "Tempo di Valse",
  "Poco più lento", "Agitato", "Vivo", "Alla breve", "Andantino", "Langsam",
)  # fmt: skip
_TEMPO_TAILS = (
  "", "", "", ".", " con brio", " ma non troppo", " assai", ", molto agitato.",
  " e cantabile", " vivace", " moderato", " (M.M.)", " ma non tanto", " – V",
  " quasi Allegro", " con anima", " a piacere",
)  # fmt: skip
_DIRECTIONS = (
  "dolce", "cresc.", "dim.", "decresc.", "espressivo", "espr.", "legato",
  "rit.", "ritard.", "a tempo", "cantabile", "sempre", "pizz.", "arco", "tutti",
  "solo", "marcato", "con forza", "sotto voce", "legatissimo", "leggiero",
  "sempre legatissimo", "poco a poco cresc.", "smorz.", "calando", "ten.",
  "accel.", "rall.", "morendo", "senza Ped.", "con Ped.", "una corda",
  "tre corde", "m. g.", "m. d.", "L.H.", "R.H.", "r. H.", "div.", "unis.",
  "con sord.", "senza sord.", "sul A", "sul G", "IV", "VIII", "III. Pos.",
  "II–––", "col legno", "Fine", "D.C. al Fine", "D.S. al Coda", "To Coda",
  "al segno", "Attacca", "V. S.", "simile", "sim.", "ad lib.", "ossia",
  "loco", "gliss.", "vibrato", "non vibr.", "A due", "a 2", "Solo A", "Vcl. +",
  "zart", "etwas bewegter", "nach und nach schneller", "Schwächer.", "ruhig",
  "en dehors", "très doux", "cédez", "au Mouvt", "avec expression", "Chor.",
  "Alle", "Verse", "Chorus", "Intro", "Am Steg", "Ad libitum", "0", "o. Ped.",
  "cre  -  -  scen  -  -  do", "cresc. - - - - -", "dim. .  .  .  .",
  "rit. – – – –", "(2nd time only)", "(ohne Verschiebung)", "Gitarre", "Capo V",
  "C V", "C VII", "½ C IV", "p i m a", "slower", "with feeling",
  "bouche fermée",
)  # fmt: skip
_PARTS = {
  "strings": "Violino I.|Violin|Vl.|Viola|Alto|Vc.|Violoncello|Cello|V-no|Va.|"
  "Contrabass|Altviola|Violine|Viola da gamba|Виолончель|Альт",
  "wind": "Flauto|Fl.|Oboe|Ob.|Tromb.|Fag.|Clarinet in A|Klarinette in A|Cor.|"
  "Alto Sax|Oboe d’amore|Flûte I|Horn in Es|Altblockflöte|Clarinetto II|Cl. A",
  "voice": "S|A|T|B|Soprano|Alto|Alt|Tenor|Bass|Canto|Voice|Singstimme|CHANT|"
  "Sopran I|S A|Voz|Voce|Сопрано|Альт|Evangelist",
  "keyboard": "Piano|Pno.|Organ|PIANO.|Klavier|Pianoforte|Cembalo|Orgel|Harp|"
  "Clavecin|Manual|Accordion|Фп.",
  "percussion": "Tamb.|Perc.|Batteria|Drums|Triangolo|Gran Cassa|Cymbals|Tom|"
  "Timpani in A|Snare",
  "tablature": "Guitar|Gtr.|Bass|Gitarre|Guitarra|Ac. Guitar|Laute|TAB",
}  # fmt: skip
_HOUSES = (
  "Edition", "Verlag von", "Copyright by", "© 1912", "Leipzig, bei", "Paris,",
  "Copyright 1903 by", "© MCMXCVIII", "Stich und Druck von", "Printed in",
  "Eigentum des Verlegers", "All Rights Reserved.", "Aufführungsrecht",
  "Propriété pour tous pays", "International copyright secured",
  "Public Domain",
)  # fmt: skip

_VOWELS = "aeiouyáéíóúàèìòùâêîôûäëïöüåæøãõőűůýėęąіıœаеёиоуыэюяїєαεηιουωάέήίόύώ"
_SYLLABLE = re.compile(
  f"[^{_VOWELS}]*[{_VOWELS}]+(?:[^{_VOWELS}]+$|[^{_VOWELS}](?=[^{_VOWELS}]))?",
  re.IGNORECASE,
)


def language(rng: random.Random) -> str:
  """A language's short name; those of much printed music more often."""
  names = list(_LANGUAGES)
  return rng.choices(names, [_SHARES.get(name, 0.6) for name in names])[0]


def of_language(rng: random.Random, name: str, count: int) -> list[str]:
  """So many words in a row."""
  words = _LANGUAGES[name].split()
  start = rng.randrange(len(words))
  # Pieces of a few words keep some sense, their order is new.
  found: list[str] = []
  while len(found) < count:
    found += (words + words)[start : start + rng.randint(1, 5)]
    start = rng.randrange(len(words))
  return found[:count]


def sentence(rng: random.Random, name: str, count: int = 0) -> str:
  """A sentence of words, with punctuation, numbers and brackets at times."""
  words = of_language(rng, name, count or rng.randint(5, 16))
  words[0] = words[0][:1].upper() + words[0][1:]
  for at in range(len(words) - 1):
    chance = rng.random()
    if chance < 0.08:
      words[at] += rng.choice((",", ",", ";", ":", " –", " —"))
    elif chance < 0.12:
      words[at] = f"({words[at]})"
    elif chance < 0.15:
      words[at] = f"„{words[at]}“" if name == "de" else f"“{words[at]}”"
    elif chance < 0.18:
      words[at] += " " + rng.choice(
        (_number(rng), "A", ">", "V.", "o", "O", "p. 0", "^", "I–V", "A.",
         "*", "§ 5", "50 %", "1805.", "...", "<", "=", "+", "·")
      )  # fmt: skip
  return " ".join(words) + rng.choice(".......!?")


def _number(rng: random.Random) -> str:
  return str(rng.choice((rng.randrange(10), rng.randrange(100, 2000))))


def syllables(rng: random.Random, name: str, count: int) -> list[list[str]]:
  """Words of a lyric as their syllables, at least `count` in all."""
  found, total = [], 0
  for word in of_language(rng, name, count):
    if total >= count:
      break
    parts = _SYLLABLE.findall(word) or [word]
    tail = word[len("".join(parts)) :]
    parts[-1] += tail + (rng.choice(",,.;!") if rng.random() < 0.15 else "")
    found.append(parts)
    total += len(parts)
  return found


def title(rng: random.Random) -> str:
  """A title of a piece."""
  name = language(rng)
  kind = rng.random()
  if kind < 0.4:
    text = rng.choice(_FORMS)
  elif kind < 0.6:
    text = f"{rng.choice(_FORMS)} {rng.choice(_KEYS)}"
  else:
    text = " ".join(of_language(rng, name, rng.randint(1, 5)))
    text = text[:1].upper() + text[1:]
  if rng.random() < 0.35:
    text = text.upper()
  return text + ("." if rng.random() < 0.3 else "")


def subtitle(rng: random.Random) -> str:
  """A line below a title."""
  return rng.choice((rng.choice(_KEYS), rng.choice(_FORMS), title(rng)))


def author(rng: random.Random) -> str:
  """A line that names a composer, a poet or an arranger."""
  name = f"{rng.choice(_FIRST)} {rng.choice(_LAST)}"
  text = rng.choice(_ROLES).format(name.upper() if rng.random() < 0.3 else name)
  return text + ("." if rng.random() < 0.2 else "")


def tempo(rng: random.Random) -> str:
  """A tempo word with what follows it."""
  return rng.choice(_TEMPI) + rng.choice(_TEMPO_TAILS)


def direction(rng: random.Random) -> str:
  """A word of expression or playing."""
  if rng.random() < 0.04:
    return sentence(rng, rng.choice(_LATIN), rng.randint(3, 6))
  text = rng.choice(_DIRECTIONS)
  if rng.random() < 0.08 and "  " not in text:
    text += " " + rng.choice(_DIRECTIONS)
  return text[:1].upper() + text[1:] if rng.random() < 0.12 else text


def part(rng: random.Random, kind: str) -> str:
  """The name of an instrument or voice; `kind` as of `mei_layer.Staff`."""
  return rng.choice(_PARTS[kind].split("|"))


def plate(rng: random.Random) -> str:
  """A plate number."""
  number = str(rng.randrange(20, 39999))
  start = "".join(rng.choice("AVORSBEPHM") + ". " for _ in range(2))
  return rng.choice(
    (number, f"{start}{number}.", f"{start[:2]} {number}", f"No. {number}",
     f"{start[:1]}.{start[3:4]}.{number}", f"Edition {number}")
  )  # fmt: skip


def imprint(rng: random.Random) -> str:
  """A line of a publisher, such as a copyright."""
  text = f"{rng.choice(_HOUSES)} {rng.choice(_FIRST)} {rng.choice(_LAST)}"
  return text + rng.choice(("", " & Co.", f", {rng.randrange(1790, 2024)}."))


def rehearsal(number: int, letters: bool) -> str:
  """The `number`-th rehearsal mark, from 0."""
  return "ABCDEFGHKLMNOPQRSTUVWXYZ"[number % 24] if letters else str(number + 1)


_QUALITIES = (
  "", "", "", "", "m", "m", "m", "min", "-", "+", "°", "dim", "aug", "ø", "Δ",
)  # fmt: skip
_TENSIONS = (
  "", "", "", "7", "7", "6", "9", "maj7", "sus4", "sus2", "add9", "11", "13",
  "7(♭9)", "7♯5", "M7", "5", "6/9",
)  # fmt: skip
_NUMERALS = (
  "I", "ii", "iii", "IV", "V", "V7", "vi", "vii°", "VI", "V/V", "N.C.",
)  # fmt: skip


def chord(
  rng: random.Random, roman: bool = False, ascii_signs: bool = False
) -> tuple[str, str, str]:
  """A chord symbol: root and kind, what may be raised, bass.

  A is the most frequent root, as no other letter looks so much like a sign of
  articulation.

  Args:
    roman: steps of the scale.
    ascii_signs: b and # instead of music signs.
  """
  if roman:
    return rng.choice(_NUMERALS), "", ""
  signs = "b#" if ascii_signs else "♭♯"
  root = rng.choice("AAAAAABCDEFGH") + rng.choice(("", "", "", "", *signs))
  bass = f"/{rng.choice('AABCDEFG')}" if rng.random() < 0.15 else ""
  tension = rng.choice(_TENSIONS)
  if ascii_signs:
    tension = tension.replace("♭", "b").replace("♯", "#")
  return root + rng.choice(_QUALITIES), tension, bass
