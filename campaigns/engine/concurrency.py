"""How many messages may be in flight at once: grows while work waits, shrinks when answers come late."""

from __future__ import annotations

SLOW_S = 5.0  # an answer later than this holds no slot any longer, and makes its device slow
SLOW_SHARE = 5  # one slot in this many, at most, is for devices that were slow last time
BEAT_S = 0.25
GROWTH, SHRINKAGE, REST = 1.5, 0.9, 0.97
LATE_FACTOR, LATE_S = 2.0, 1.0
FORGETTING = 0.02


class Limit:
    """Between ``least`` and ``most``. Told of every answer, and asked to adjust itself every `BEAT_S`.

    Answers are late when they take more than twice as long as usual, and a second more. What is usual
    follows what is seen, slowly upwards and at once downwards.
    """

    def __init__(self, least: int, most: int) -> None:
        self.least = min(least, most)
        self.most = most
        self.value = self.least
        self.highest = self.value
        self.usual_s: float | None = None
        self.latency_s = 0.0
        self.held_back_s = 0.0
        self._sum = 0.0
        self._answers = 0
        self._peak = 0

    @property
    def slow(self) -> int:
        """The slots that slow devices may have."""
        return max(1, self.value // SLOW_SHARE)

    def started(self, in_flight: int) -> None:
        self._peak = max(self._peak, in_flight)

    def answered(self, latency_s: float) -> None:
        self._sum += latency_s
        self._answers += 1

    def adjust(self, in_flight: int, waiting: int) -> None:
        """``waiting``: how many would be asked now if there were a slot for them, whether they have anything to send or
        not. While most slots are free it is not the limit that they wait for.
        """
        late = self._late()
        busy = waiting > max(0, self.value - self._peak)  # a claim of many leaves the last few slots empty
        if busy and self.value == self.most and self._peak > self.value // 2:
            self.held_back_s += BEAT_S
        if late:
            self.value = max(self.least, int(self.value * SHRINKAGE))
        elif busy:
            self.value = min(self.most, int(self.value * GROWTH) + 1)
            self.highest = max(self.highest, self.value)
        elif self._peak < self.value // 2:
            self.value = max(self.least, int(self.value * REST))
        self._peak = in_flight

    def _late(self) -> bool:
        if not self._answers:
            return False
        self.latency_s = self._sum / self._answers
        self._sum, self._answers = 0.0, 0
        usual = self.usual_s
        if usual is None or self.latency_s < usual:
            self.usual_s = self.latency_s
            return False
        self.usual_s = usual + (self.latency_s - usual) * FORGETTING
        return self.latency_s > usual * LATE_FACTOR and self.latency_s > usual + LATE_S
