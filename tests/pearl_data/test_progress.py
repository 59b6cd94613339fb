"""The progress line: what it says of a start, of the way and of what was there already."""

from pearl_data.progress import Progress


def test_what_was_done_before_has_no_rate() -> None:
    assert Progress("eval", 24, "questions", done=24).line() == "eval 24/24 questions, done before"


def test_a_rate_counts_from_where_it_went_on() -> None:
    progress = Progress("synth", 10, "samples", done=8)
    assert progress.line() == "synth 8/10 samples, 0.0/s"
    progress._start_s -= 2
    progress.done = 9
    assert progress.line() == "synth 9/10 samples, 0.5/s, 2 s left"
