"""The answer CallRail gives instead of doing what it was asked."""


class Refusal(Exception):
    """
    A request is answered with *status* and *words*.

    The body ``{"error": words}`` has the shape of the only error body that was recorded (404,
    2026-08-14); for other statuses the words are known and their wrapper is assumed to be the same.
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


def not_found() -> Refusal:
    return Refusal(404, "Not found")


def no_permission() -> Refusal:
    return Refusal(403, "You do not have permission")
