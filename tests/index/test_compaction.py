"""Which segments are written anew, decided from their sizes alone."""

from rebase_hf.index.compaction import FANOUT, SegmentState, segments_to_rewrite
from rebase_hf.index.pieces import PieceRecord
from rebase_hf.index.segment_writing import SegmentLimits, fitting_runs

LIMITS = SegmentLimits(texts=4_000_000, raw_bytes=10**12)


def record(name, texts, rows=None):
    rows = texts if rows is None else rows
    return PieceRecord(
        source=name, part=0, content="", rows=rows, cells=2 * texts, junk_cells=0, texts=texts, bytes=200 * rows
    )


def after_adding(sizes, limits=LIMITS):
    """Return the segments, as texts of their pieces, and how many texts were written, once all sizes were added."""
    segments, written = {}, 0
    for number, texts in enumerate(sizes):
        new = record(f"s{number}", texts)
        states = [SegmentState(name, pieces, frozenset(range(len(pieces)))) for name, pieces in segments.items()]
        chosen = segments_to_rewrite(states, [new], limits)
        pending = [piece for name in sorted(chosen) for piece in segments.pop(name)] + [new]
        for run in fitting_runs(pending, limits):
            pieces = tuple(pending[run.start : run.stop])
            segments[f"segment{number}-{run.start}"] = pieces
            written += sum(piece.texts for piece in pieces)
    return [sum(piece.texts for piece in pieces) for pieces in segments.values()], written


def test_few_segments_stay_and_each_text_is_written_a_few_times():
    for texts in (300, 2_000, 100_000, 300_000, 520_000, 600_000):
        segments, written = after_adding([texts] * 100)
        assert sum(segments) == 100 * texts
        assert max(segments) <= LIMITS.texts
        fewest = -(-100 * texts // LIMITS.texts)
        assert len(segments) <= 2 * fewest + 2 * FANOUT, texts
        assert written <= 6 * 100 * texts, texts


def test_a_full_segment_is_left_alone():
    full = [SegmentState(f"full{n}", (record(f"f{n}", 3_000_000),), frozenset({0})) for n in range(20)]
    small = [SegmentState(f"small{n}", (record(f"s{n}", 2_000),), frozenset({0})) for n in range(FANOUT)]
    assert segments_to_rewrite(full, [record("new", 700_000)], LIMITS) == frozenset()
    assert segments_to_rewrite([*full, *small], [], LIMITS) == {one.name for one in small}


def test_a_segment_is_written_anew_when_more_than_a_fifth_of_its_rows_are_gone():
    pieces = tuple(record(f"s{n}", 100) for n in range(10))
    kept = SegmentState("a", pieces, frozenset(range(8)))
    assert segments_to_rewrite([kept], [], LIMITS) == frozenset()
    assert segments_to_rewrite([kept], [], LIMITS, most_dead=0.0) == {"a"}
    assert segments_to_rewrite([SegmentState("a", pieces, frozenset(range(7)))], [], LIMITS) == {"a"}


def test_many_small_limits_do_not_add_up():
    segments, _ = after_adding([40] * 60, SegmentLimits(texts=300, raw_bytes=10**12))
    assert len(segments) <= 2 * (-(-60 * 40 // 300)) + 2 * FANOUT
