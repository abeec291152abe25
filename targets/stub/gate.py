"""A bulkhead: so many at one time, so many waiting in line, the rest refused."""

import asyncio
from collections import deque

from targets.stub.variants import Bulkhead


class Gate:
    """Lets in, makes wait in the order of arrival, or refuses."""

    def __init__(self, rule: Bulkhead, defects: frozenset[str] = frozenset()) -> None:
        self._most = rule.running + ("bulkhead_off_by_one" in defects)
        self._bound = rule.waiting
        self._line: deque[asyncio.Future[None]] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        """Return how many are in line."""
        return len(self._line)

    async def enter(self) -> bool:
        """Return True once there is room, False at once when the line is full; `leave` follows a True."""
        if self.running < self._most:
            self.running += 1
            return True
        if len(self._line) >= self._bound:
            return False
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # the turn came with the end
            elif turn in self._line:
                self._line.remove(turn)
            raise
        return True

    def leave(self) -> None:
        """Give the room to the first in line."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1
