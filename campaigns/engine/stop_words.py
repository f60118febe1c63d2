"""Recognises a reply that asks us to stop, in the languages people write it in."""

from __future__ import annotations

import unicodedata

STOP_WORDS = frozenset(
    word
    for words in (
        "stop stopall unsubscribe cancel end quit optout opt-out remove",
        "berhenti berhentikan henti batal baja alto parar sair pare stopp abmelden aufhören",
        "arret arrêt arreter arrêter désabonner dừng huỷ ngừng",
        "стоп отписаться إيقاف توقف الغاء إلغاء הסר",
        "退订 停止 取消 やめて 수신거부 หยุด ยกเลิก रोकें बंद",
    )
    for word in words.split()
)


def asks_to_stop(text: str) -> bool:
    """Whether the whole reply, but for blanks and punctuation, is one of the stop words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    word = folded.strip("".join(c for c in set(folded) if unicodedata.category(c)[0] in "PZSC"))
    return word in STOP_WORDS
