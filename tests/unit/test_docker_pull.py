from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.docker.pull import PullTracker

STATUSES = [
    "Pulling fs layer",
    "Waiting",
    "Downloading",
    "Verifying Checksum",
    "Download complete",
    "Extracting",
    "Pull complete",
    "Already exists",
    "Retrying in 3 seconds",
    "Retrying in 1 second",
    "Pulling from x/y",
    "Something new",
]

details = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from(["current", "total", "units"]),
        st.integers(-10, 10**9) | st.sampled_from(["s", None, 1.5, True]),
    ),
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["aaaaaaaaaaaa", "bbbbbbbbbbbb", "latest"]) | st.integers(),
        "status": st.sampled_from(STATUSES) | st.none(),
        "progressDetail": details,
    },
)


def message(layer: str, status: str, current: int = 0, total: int = 0, **more: object) -> dict[str, object]:
    return {"id": layer, "status": status, "progressDetail": {"current": current, "total": total, **more}}


def percent_after(tracker: PullTracker, *entries: dict[str, object]) -> float:
    for entry in entries:
        tracker.feed(entry)
    return tracker.progress.percent


@given(st.lists(messages, max_size=60), st.sampled_from([None, {"aaaaaaaaaaaa": 5, "bbbbbbbbbbbb": 500}]))
def test_progress_never_falls_stays_in_bounds_and_ends_at_100(entries, sizes):
    tracker = PullTracker(sizes)
    before = 0.0
    for entry in entries:
        now = percent_after(tracker, entry)
        assert before <= now <= 100
        assert 0 <= tracker.progress.downloaded <= tracker.progress.total
        before = now
    tracker.finish()
    assert tracker.progress.percent == 100
    assert tracker.progress.stage == "Pull complete"


def test_download_is_seventy_per_cent_of_a_layer_and_extraction_the_rest():
    tracker = PullTracker()
    assert percent_after(tracker, message("a", "Pulling fs layer"), message("b", "Pulling fs layer")) == 0
    assert percent_after(tracker, message("a", "Downloading", 50, 100)) == 17.5
    assert tracker.progress.stage == "Downloading"
    assert percent_after(tracker, message("a", "Download complete"), message("b", "Download complete")) == 70
    assert tracker.progress.stage == "Extracting"
    assert percent_after(tracker, message("a", "Extracting", 50, 100)) == 77.5
    assert percent_after(tracker, message("a", "Pull complete")) == 85
    assert percent_after(tracker, message("b", "Pull complete")) == 100
    assert tracker.progress.stage == "Pull complete"


def test_layers_weigh_by_size_when_the_sizes_are_known():
    tracker = PullTracker({"a": 900, "b": 100})
    first = [message("a", "Pulling fs layer"), message("b", "Pulling fs layer")]
    assert percent_after(tracker, *first, message("b", "Downloading", 100, 100)) == 7


def test_layers_that_exist_do_not_count():
    tracker = PullTracker()
    first = [message("a", "Already exists"), message("b", "Pulling fs layer")]
    assert percent_after(tracker, *first, message("b", "Downloading", 50, 100)) == 35


def test_a_download_that_nothing_was_told_of_has_its_size_from_the_extraction():
    tracker = PullTracker()
    first = [message("a", "Pulling fs layer"), message("a", "Download complete")]
    assert percent_after(tracker, *first, message("a", "Extracting", 40, 400)) == 73
    assert (tracker.progress.downloaded, tracker.progress.total) == (400, 400)
    tracker.feed(message("a", "Extracting", 50, 500))
    assert tracker.progress.total == 400, "the first word counts"


def test_extraction_told_in_seconds_says_nothing():
    tracker = PullTracker()
    first = [message("a", "Pulling fs layer"), message("a", "Download complete")]
    assert percent_after(tracker, *first, message("a", "Extracting", 3, 4, units="s")) == 70


def test_a_retry_starts_the_layer_again_without_showing_less():
    tracker = PullTracker()
    entries = [
        message("a", "Pulling fs layer"),
        message("a", "Downloading", 80, 100),
        message("a", "Retrying in 5 seconds"),
    ]
    assert percent_after(tracker, *entries) == 56
    assert tracker.progress.downloaded == 0
    assert percent_after(tracker, message("a", "Downloading", 90, 100)) == 63


def test_a_small_layer_that_skips_its_download_counts():
    tracker = PullTracker()
    first = [message("a", "Pulling fs layer"), message("b", "Pulling fs layer")]
    assert percent_after(tracker, *first, message("a", "Pull complete")) == 50
    assert tracker.progress.total == 1
