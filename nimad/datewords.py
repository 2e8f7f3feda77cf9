"""The words that dates are written with: English, German, French, Spanish, Italian, Portuguese,
Russian, Japanese and Chinese."""

from __future__ import annotations

from datetime import timedelta


def _numbered(first: int, *names: str) -> dict[str, int]:
    """Each of some names, and the number of its line."""
    return {name: number for number, line in enumerate(names, first) for name in line.split()}


MONTHS = _numbered(
    1,
    "january jan januar janvier enero gennaio janeiro январь января январе",
    "february feb februar février fevrier febrero febbraio fevereiro февраль февраля феврале",
    "march mar märz mars marzo março март марта марте",
    "april apr avril abril aprile апрель апреля апреле",
    "may mai mayo maggio maio май мая мае",
    "june jun juni juin junio giugno junho июнь июня июне",
    "july jul juli juillet julio luglio julho июль июля июле",
    "august aug août aout agosto август августа августе",
    "september sep sept septembre septiembre settembre setembro сентябрь сентября сентябре",
    "october oct oktober okt octobre octubre ottobre outubro октябрь октября октябре",
    "november nov novembre noviembre novembro ноябрь ноября ноябре",
    "december dec dezember dez décembre decembre diciembre dicembre dezembro"
    " декабрь декабря декабре",
)
"""Names and abbreviations, lower case, to 1..12."""

WEEKDAYS = _numbered(
    0,
    "monday montag lundi lunes lunedì понедельник",
    "tuesday dienstag mardi martes martedì вторник",
    "wednesday mittwoch mercredi miércoles mercoledì",
    "thursday donnerstag jeudi jueves giovedì четверг",
    "friday freitag vendredi viernes venerdì пятница пятницу",
    "saturday samstag sonnabend samedi sábado sabato суббота субботу",
    "sunday sonntag dimanche domingo domenica воскресенье",
)
"""Names, lower case, to 0 (Monday) .. 6."""

DENSE_WEEKDAYS = _numbered(0, "一 月", "二 火", "三 水", "四 木", "五 金", "六 土", "日 天")
"""The last character of a weekday's name in Chinese and the first in Japanese."""

SEASONS = {
    name: months
    for months, names in (
        ((3, 4, 5), "spring frühling frühjahr printemps primavera весной весна 春天 春季 春"),
        ((6, 7, 8), "summer sommer été verano estate verão летом лето 夏天 夏季 夏"),
        ((9, 10, 11), "autumn fall herbst automne otoño autunno outono осенью осень 秋天 秋季 秋"),
        ((12, 1, 2), "winter hiver invierno inverno зимой зима 冬天 冬季 冬"),
    )
    for name in names.split()
}
"""Names, lower case, to the months of a season as the northern half of the earth has it."""

NUMBERS = _numbered(
    1,
    "a an one ein eine einen einem einer un une una um uma un' одну один 一",
    "two zwei deux dos due dois duas два две 二 两 兩",
    "three drei trois tres tre três три 三",
    "four vier quatre cuatro quattro quatro четыре 四",
    "five fünf cinq cinco cinque пять 五",
    "six sechs seis sei шесть 六",
    "seven sieben sept siete sette sete семь 七",
    "eight acht huit ocho otto oito восемь 八",
    "nine neun neuf nueve nove девять 九",
    "ten zehn dix diez dieci dez десять 十",
)
"""Numbers that are written as words."""

_DAY = timedelta(days=1)
_LENGTHS = {
    "min minute minuto minuti минуту минуты минут 分 分钟 分鐘": timedelta(minutes=1),
    "h hour stunde heure hora ora ore час часа часов 時間 小时 小時": timedelta(hours=1),
    "d day tag jour día dia giorno giorni день дня дней 日 天": _DAY,
    "w week woche semaine semana settimana settimane неделю недели недель 週 周 星期 礼拜": 7
    * _DAY,
    "mo month monat mois mes mese mesi mês месяц месяца месяцев か月 ヶ月 月": 30 * _DAY,
    "y year jahr an année año anno anni ano год года лет 年": 365 * _DAY,
}
UNITS = {name: length for names, length in _LENGTHS.items() for name in names.split()}
"""How long a unit of an age is: a month has 30 days, a year 365."""
