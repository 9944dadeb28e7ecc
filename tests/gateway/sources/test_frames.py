"""MLLP: bytes become messages only where the frame says so, however they come in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sources.frames import BEGIN, CLOSE, END, FrameError, Frames, framed

BODIES = st.lists(st.binary(max_size=40).map(lambda body: body.replace(BEGIN, b"").replace(END, b"")), max_size=5)


@given(BODIES, st.data())
def test_messages_come_out_as_they_were_framed_in_whatever_pieces_they_come(
    bodies: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(framed(body) for body in bodies)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    frames = Frames(100)

    found = [body for piece in pieces for body in frames.feed(piece)]

    assert found == [framed(body) for body in bodies]
    assert not frames.is_begun


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"MSH|^~\\&|A\r", "frame-missing"),
        (framed(b"MSH|1") + b"PID|2\r", "frame-missing"),
        (BEGIN + b"MSH|1\r" + framed(b"MSH|2"), "frame-broken"),
        (BEGIN + b"MSH|1\r" + END + b"PID|2" + CLOSE, "frame-broken"),
        (BEGIN + b"x" * 101, "message-too-long"),
        (framed(b"x" * 101), "message-too-long"),
        (b"GET / HTTP/1.1\r\n\r\n", "frame-missing"),
    ],
)
def test_nothing_is_guessed_of_what_is_not_framed(stream: bytes, code: str) -> None:
    def fed(size: int) -> None:
        frames = Frames(100)
        for start in range(0, len(stream), size):
            list(frames.feed(stream[start : start + size]))

    for size in (1, len(stream)):
        with pytest.raises(FrameError) as refused:
            fed(size)
        assert refused.value.code == code


def test_a_line_end_may_stand_between_two_messages() -> None:
    assert list(Frames(100).feed(framed(b"1") + b"\r\n" + framed(b"2"))) == [framed(b"1"), framed(b"2")]


@given(st.lists(st.binary(max_size=30), max_size=6))
def test_no_stream_makes_more_of_itself_or_fails_otherwise(pieces: list[bytes]) -> None:
    frames, taken = Frames(50), 0
    try:
        for piece in pieces:
            taken += sum(len(body) for body in frames.feed(piece))
    except FrameError:
        pass

    assert taken <= sum(map(len, pieces))
