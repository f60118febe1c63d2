"""The made-up people of the demonstration, as the CSV files they come in.

Every number is one that its country keeps free for films and books, so that no living person can be written to,
whatever device somebody links to the workspace later.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass

# (city, first number, how many): 555-0100 to 555-0199 in North America, 070-174 06 05 to 99 in Sweden.
PLACES = [
    ("New York", 12125550100, 100),
    ("Brooklyn", 17185550100, 100),
    ("Boston", 16175550100, 100),
    ("Philadelphia", 12155550100, 100),
    ("Washington", 12025550100, 100),
    ("Atlanta", 14045550100, 100),
    ("Miami", 13055550100, 100),
    ("New Orleans", 15045550100, 100),
    ("Houston", 17135550100, 100),
    ("Austin", 15125550100, 100),
    ("Denver", 13035550100, 100),
    ("Chicago", 13125550100, 100),
    ("Minneapolis", 16125550100, 100),
    ("Seattle", 12065550100, 100),
    ("Portland", 15035550100, 100),
    ("San Francisco", 14155550100, 100),
    ("Los Angeles", 13235550100, 100),
    ("San Diego", 16195550100, 100),
    ("Toronto", 14165550100, 100),
    ("Montréal", 15145550100, 100),
    ("Vancouver", 16045550100, 100),
    ("Stockholm", 46701740605, 95),
]

# Given names and family names that go together.
NAMES = [
    ("Aisha Farid Nurul Hafiz Siti Azlan Aina Iskandar", "Rahman|Ismail|Abdullah|Yusof|Hashim|Zainal"),
    ("Mei Jun Wei Xiao Li Hui Jing Ming", "Tan|Lim|Wong|Chen|Zhang|Lee"),
    ("Priya Arjun Ananya Rahul Kavita Vikram Meera Sanjay", "Sharma|Nair|Patel|Iyer|Reddy|Menon"),
    ("Camila Mateo Valentina Diego Lucía Javier Sofía Andrés", "García|Hernández|Rojas|Morales|Fernández|Vargas"),
    ("Ana Thiago Beatriz João Larissa Rafael Helena Caio", "Silva|Souza|Oliveira|Pereira|Almeida|Ribeiro"),
    ("Chidi Ngozi Emeka Amara Tunde Folake Kelechi Zainab", "Okafor|Adeyemi|Nwosu|Balogun|Eze|Okonkwo"),
    ("Wanjiru Otieno Achieng Kamau Njeri Mwangi", "Kariuki|Odhiambo|Wambui|Kiprotich|Ndungu"),
    ("Layla Omar Yasmin Khalid Noor Tariq Hana Samir", "Haddad|Mansour|Al-Sayed|Khoury|Nasser|Saleh"),
    ("Elif Emre Zeynep Can Defne Kerem", "Demir|Kaya|Şahin|Öztürk"),
    ("Anja Lukas Greta Jonas Freya Matthias Ingrid Lars", "Schneider|Lindqvist|Bauer|Nyström|Vogel|Bergman"),
    ("Chloé Hugo Manon Théo Inès Louis", "Moreau|Lefèvre|Girard|Dubois|Fontaine"),
    ("Oksana Dmytro Katarzyna Piotr Milena Ivan", "Kovalenko|Nowak|Petrov|Wójcik|Shevchenko"),
    ("Haruka Kenji Yuki Takumi Minh Linh Thảo Duc", "Tanaka|Sato|Nguyễn|Trần|Watanabe|Phạm"),
    ("Grace Noah Olivia Ethan Maya Samuel Ruth Daniel", "Campbell|O'Connor|Brooks|Hughes|Walker|Bennett"),
]
PLANS = ("Basic", "Plus", "Pro")
ROASTS = ("light", "medium", "dark")
HEADER = ("Full name", "WhatsApp", "City", "Plan", "Favourite roast", "Customer since", "Tags")

# What people type into a phone column.
BAD_ROWS = [
    ("Rosa Delgado", "1.21256E+10", "New York", "", "", "", ""),
    ("Bilal Qureshi", "see Instagram", "Chicago", "", "", "", ""),
    ("", "", "Boston", "Plus", "dark", "2024", ""),
    ("Hanna Lund", "0701", "Stockholm", "", "light", "", ""),
    ("Marcus Bell", "+1 212 555 01", "Brooklyn", "", "", "", ""),
    ("Ivy and Sam Cole", "206 555 0111 / 206 555 0112", "Seattle", "", "", "", ""),
    ("Tomasz Zając", "+1 999 555 0143", "Denver", "", "medium", "", ""),
]


@dataclass(frozen=True, slots=True)
class File:
    name: str
    content: bytes


def files(customers: int, visitors: int) -> tuple[File, File]:
    """The customers, and the visitors of a fair with the rows nobody can read; the same in every installation."""
    rng = random.Random(2)  # noqa: S311 - chooses made-up people
    rows = list(_rows(rng, customers + visitors))
    fair = [(*row[:3], "", row[4], "", rng.choice(("wholesale", "", ""))) for row in rows[customers:]]
    for bad in BAD_ROWS:
        fair.insert(rng.randrange(len(fair)), bad)
    return File("customers.csv", _csv(rows[:customers])), File("coffee-fair.csv", _csv(fair))


def _rows(rng: random.Random, count: int) -> Iterator[tuple[str, ...]]:
    numbers = [(city, first + place) for city, first, many in PLACES for place in range(many)]
    for city, number in rng.sample(numbers, count):
        given, family = rng.choice(NAMES)
        name = f"{rng.choice(given.split())} {rng.choice(family.split('|'))}"
        plan, roast = rng.choices(PLANS, (5, 3, 2))[0], rng.choice(ROASTS)
        tags = ["newsletter"] * (rng.random() < 0.6) + ["vip"] * (plan == "Pro" and rng.random() < 0.5)
        yield name, f"+{number}", city, plan, roast, str(rng.randint(2019, 2026)), "; ".join(tags)


def _csv(rows: list[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADER)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")
