"""Dates in a question, in every usual form and nine languages: that day's memory comes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimad import when
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.datewords import MONTHS, NUMBERS, SEASONS, UNITS, WEEKDAYS
from nimad.model import Filter, Memory
from nimad.recall.dates import DAY_MS, Days, Named, named_dates

NOW = datetime(2018, 3, 7, 15, tzinfo=UTC)  # a Wednesday
START = datetime(2017, 6, 1, 12, tzinfo=UTC)
DAYS = 280
NOTES = {
    "en": "We had lunch together, for {} euros.",
    "de": "Wir waren zusammen essen, für {} Euro.",
    "fr": "Nous avons pris le déjeuner ensemble, pour {} euros.",
    "es": "Hicimos la comida juntos, por {} euros.",
    "it": "Abbiamo fatto pranzo insieme, per {} euro.",
    "pt": "Fizemos o almoço juntos, por {} euros.",
    "ru": "Мы вместе съели обед за {} евро.",
    "zh": "我们一起吃了午饭，花了{}欧元。",
    "ja": "一緒に昼食を食べて、{}ユーロ払いました。",
    "ko": "같이 점심을 먹고 {}유로를 냈다.",
}
"""What is noted each day, by language."""


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@pytest.fixture(scope="module")
def diary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    """Diaries that say the same each day; some days tell the date of another one."""
    config = Config().replace(graph__engine="none")
    with closing(MemoryStore.open(tmp_path_factory.mktemp("dates") / "state", config)) as store:
        days = [START + timedelta(days=number) for number in range(DAYS)]
        for language, note in NOTES.items():
            texts = [note.format(n % 7 + 20) for n in range(DAYS)]
            for place in range(0, DAYS, 9):
                texts[place] += f" {days[(place + 31) % DAYS]:%Y/%m/%d}!"
            store.remember_many(
                [
                    Memory(text, timestamp=ms(day), namespace=language)
                    for text, day in zip(texts, days, strict=True)
                ]
            )
        yield store


def days_found(
    store: MemoryStore, language: str, text: str, k: int = 1, mode: str = "hybrid"
) -> set[str]:
    """The days of the best `k` memories in a diary."""
    where = Filter(namespace=language)
    hits = store.recall.query(text, k, mode, where, ms(NOW), zone=UTC)
    moments = [datetime.fromtimestamp((hit.memory.timestamp or 0) / 1000, UTC) for hit in hits]
    return {f"{moment:%Y-%m-%d}" for moment in moments}


LAST_OF_JANUARY = {
    "What did we have for lunch on {}?": (
        *("2018-01-31", "2018/01/31", "2018/1/31", "2018.1.31", "01/31/2018", "1/31/18"),
        *("31/01/2018", "31.1.2018", "31.1.18", "31.01.2018", "31-01-2018", "January 31, 2018"),
        *("31 January 2018", "31st of January, 2018", "Jan 31st 2018", "jan. 31 2018"),
    ),
    "Was gab es am {} zu essen?": ("31. Januar 2018", "31.1.2018", "31.1.18", "31. Jan. 2018"),
    "Qu'est-ce qu'il y avait au déjeuner le {} ?": ("31 janvier 2018", "31/01/2018"),
    "¿Qué comida hicimos el {}?": ("31 de enero de 2018", "31 de enero del 2018", "31/1/18"),
    "Che cosa c'era a pranzo il {}?": ("31 gennaio 2018",),
    "O que havia no almoço em {}?": ("31 de janeiro de 2018",),
    "Что мы ели на обед {}?": ("31 января 2018", "31 января 2018 года", "31.01.2018"),
    "{}午饭吃了什么？": ("2018年1月31日", "2018年1月31号", "2018/1/31", "1月31号"),
    "{}の昼食は何でしたか": ("2018年1月31日", "2018/01/31"),
    "{}에 점심은 무엇이었나요?": ("2018년 1월 31일", "2018년1월31일", "1월 31일", "2018/1/31"),
}


@pytest.mark.parametrize(
    ("language", "question", "written"),
    [
        (language, question, written)
        for language, (question, forms) in zip(NOTES, LAST_OF_JANUARY.items(), strict=True)
        for written in forms
    ],
)
def test_a_day_is_found_however_it_is_written(
    diary: MemoryStore, language: str, question: str, written: str
) -> None:
    for mode in ("hybrid", "words"):
        found = days_found(diary, language, question.format(written), mode=mode)
        assert found == {"2018-01-31"}, mode


@pytest.mark.parametrize(
    ("language", "text", "first", "last"),
    [
        ("en", "lunch yesterday", "2018-03-06", "2018-03-06"),
        ("en", "lunch the day before yesterday", "2018-03-05", "2018-03-05"),
        ("en", "lunch last week", "2018-02-26", "2018-03-04"),
        ("en", "lunch last weekend", "2018-03-03", "2018-03-04"),
        ("en", "lunch last month", "2018-02-01", "2018-02-28"),
        ("en", "lunch in January 2018", "2018-01-01", "2018-01-31"),
        ("en", "lunch in summer 2017|lunch last summer", "2017-06-01", "2017-08-31"),
        ("en", "lunch in autumn of 2017|lunch last fall", "2017-09-01", "2017-11-30"),
        ("de", "Essen gestern", "2018-03-06", "2018-03-06"),
        ("de", "Essen letzten Freitag", "2018-03-02", "2018-03-02"),
        ("de", "Essen letztes Wochenende", "2018-03-03", "2018-03-04"),
        ("de", "Essen im Sommer 2017|Essen letzten Sommer", "2017-06-01", "2017-08-31"),
        ("fr", "Le déjeuner d'hier", "2018-03-06", "2018-03-06"),
        ("fr", "Le déjeuner de vendredi dernier", "2018-03-02", "2018-03-02"),
        ("fr", "Le déjeuner il y a trois jours", "2018-03-04", "2018-03-04"),
        ("fr", "Le déjeuner de la semaine dernière", "2018-02-26", "2018-03-04"),
        ("fr", "Le déjeuner du mois dernier", "2018-02-01", "2018-02-28"),
        (
            "fr",
            "Avons-nous pris le déjeuner ensemble l'été 2017 ?"
            "|Où avons-nous pris le déjeuner l'été dernier ?",
            "2017-06-01",
            "2017-08-31",
        ),
        ("es", "La comida de ayer", "2018-03-06", "2018-03-06"),
        ("es", "La comida de hace 3 días", "2018-03-04", "2018-03-04"),
        ("es", "La comida del viernes pasado", "2018-03-02", "2018-03-02"),
        ("es", "La comida del fin de semana pasado", "2018-03-03", "2018-03-04"),
        ("es", "La comida del mes pasado", "2018-02-01", "2018-02-28"),
        ("es", "La comida del verano de 2017", "2017-06-01", "2017-08-31"),
        ("it", "Il pranzo di ieri", "2018-03-06", "2018-03-06"),
        ("it", "Il pranzo di tre giorni fa", "2018-03-04", "2018-03-04"),
        ("pt", "O almoço de ontem", "2018-03-06", "2018-03-06"),
        ("pt", "O almoço da semana passada", "2018-02-26", "2018-03-04"),
        ("ru", "Обед вчера", "2018-03-06", "2018-03-06"),
        ("ru", "Обед 3 дня назад", "2018-03-04", "2018-03-04"),
        ("ru", "Обед на прошлой неделе", "2018-02-26", "2018-03-04"),
        ("ru", "Мы вместе съели обед в прошлом месяце?", "2018-02-01", "2018-02-28"),
        ("zh", "昨天的午饭", "2018-03-06", "2018-03-06"),
        ("zh", "前天的午饭", "2018-03-05", "2018-03-05"),
        ("zh", "三天前的午饭", "2018-03-04", "2018-03-04"),
        ("zh", "上周五的午饭", "2018-03-02", "2018-03-02"),
        ("zh", "上个星期一的午饭", "2018-02-26", "2018-02-26"),
        ("zh", "上周的午饭", "2018-02-26", "2018-03-04"),
        ("zh", "上周末的午饭", "2018-03-03", "2018-03-04"),
        ("zh", "上个月的午饭", "2018-02-01", "2018-02-28"),
        ("zh", "2017年夏天的午饭|去年夏天的午饭", "2017-06-01", "2017-08-31"),
        ("ja", "昨日の昼食", "2018-03-06", "2018-03-06"),
        ("ja", "先週の金曜日の昼食", "2018-03-02", "2018-03-02"),
    ],
)
def test_days_that_count_from_now(
    diary: MemoryStore, language: str, text: str, first: str, last: str
) -> None:
    for one in text.split("|"):
        found = days_found(diary, language, one, 2 if first < last else 1)
        assert found and all(first <= day <= last for day in found), (one, found)


def test_a_weekend_is_two_days_of_a_week(diary: MemoryStore) -> None:
    asked = [("en", "lunch at the weekend"), ("de", "Essen am Wochenende"), ("zh", "周末的午饭")]
    for language, text in asked:
        found = days_found(diary, language, text, 5, "words")
        assert {datetime.fromisoformat(day).weekday() for day in found} <= {5, 6}, text


@pytest.mark.parametrize(
    "text",
    [
        *("Was steht hier im Vertrag?", "Is there life on Mars?", "Who may come?", "summer camp"),
        *(
            "version 1.2.3-rc1",
            "10.0.0.1",
            "1/2 cup",
            "They march on",
            "四周都是水",
            "5 to 7 people",
        ),
        *("a fall from grace", "mayo on bread", "second hand", "300 dollars"),
    ],
)
def test_what_names_no_date(text: str) -> None:
    assert not named_dates(text, ms(NOW), UTC).parts


def test_both_readings_of_a_date_of_numbers() -> None:
    """Which one is the month depends on the country; both are looked for, and no third."""
    for written in ("05/06/2017", "06/05/2017"):
        parts = named_dates(written, ms(NOW), UTC).parts
        assert {one.low for one in parts["month"]} == {one.low for one in parts["day"]} == {5, 6}
    assert {one.low for one in named_dates("5.6.2017", ms(NOW), UTC).parts["month"]} == {6}
    assert named_dates("13/14/2017", ms(NOW), UTC).parts.keys() <= {"year"}


def test_a_date_counts_once(tmp_path: Path) -> None:
    """By the time of a memory or by the words in its text: the day itself comes before a memory
    that only speaks of a part of it, and one that speaks of the day is found without its time."""
    config = Config().replace(graph__engine="none")
    with closing(MemoryStore.open(tmp_path / "state", config)) as store:
        texts = [f"The meter stood at {700 + n}." for n in range(60)]
        day = ms(datetime(2019, 5, 9, 12, tzinfo=UTC))
        made = [Memory(t, timestamp=day + n * DAY_MS) for n, t in enumerate(texts)]
        made[40].text = "The meter stood at 740, as on 2019/05/01."
        store.remember_many(made)
        written = store.remember(Memory("The meter of 2021/11/23 stood at 99.", timestamp=1))

        def first(text: str) -> list[int]:
            hits: Sequence[object] = store.recall.query(text, 1, "words", Filter(), zone=UTC)
            return [hit.memory.id for hit in hits]  # type: ignore[attr-defined]

        for asked in ("2019/05/12", "12 May 2019"):
            assert first(f"Where did the meter stand on {asked}?") == [4], asked
        assert first("Where did the meter stand on 2021/11/23?") == [written]


WORDS = [*MONTHS, *WEEKDAYS, *SEASONS, *NUMBERS, *UNITS, "last", "ago", "il y a", "hace", "назад"]


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(
        st.sampled_from(WORDS)
        | st.from_regex(r"[0-9]{1,4}[-/.年月日 ]?", fullmatch=True)
        | st.text(st.sampled_from("ıſKᲀᲃaAſ上周去年前个. "), max_size=4),
        max_size=8,
    ),
    odd=st.sampled_from(["", "iı", "sſ", "kK", "вᲀ", "сᲃ", "тᲄ"]),
)
def test_any_text_names_dates_or_none(parts: list[str], odd: str) -> None:
    """Letters with a third form match without their case, and are in no table."""
    for text in ("".join(parts), " ".join(parts)):
        if odd:
            text = text.replace(odd[0], odd[1])
        found = named_dates(text, ms(NOW), UTC)
        for part, named in found.parts.items():
            limits = {"month": (1, 12), "day": (1, 31), "weekday": (0, 6), "year": (1900, 2099)}
            low, high = limits.get(part, (-(1 << 62), 1 << 62))
            assert all(low <= one.low <= high for one in named)
        with suppress(ValueError):
            when.read(text, ms(NOW), UTC)


@pytest.mark.parametrize("text", ["2 mınutes ago", "last 3 mınutes", "last frıday", "8 aprıl 2018"])
def test_a_letter_without_a_case_is_no_trouble(text: str) -> None:
    named_dates(f"What was {text}?", ms(NOW), UTC)
    with pytest.raises(ValueError, match="must be a date"):
        when.read(text, ms(NOW), UTC)


@pytest.mark.parametrize("place", ["Europe/Berlin", "Africa/Casablanca", "Australia/Lord_Howe"])
def test_the_days_of_many_years_are_those_of_the_zone(place: str) -> None:
    """Around midnight, where a wrong offset makes another day of it."""
    zone = ZoneInfo(place)
    noons = range(
        ms(datetime(2015, 1, 1, 12, tzinfo=UTC)), ms(datetime(2023, 1, 1, tzinfo=UTC)), DAY_MS
    )
    moments = [noon + hour * DAY_MS // 24 for noon in noons for hour in (-13, -11, 0, 10, 11, 12)]
    local = [datetime.fromtimestamp(moment // 1000, zone) for moment in moments]
    on_first = Days(np.array(moments), zone).on("day", [Named("day", 1)])
    assert on_first.tolist() == [moment.day == 1 for moment in local]
