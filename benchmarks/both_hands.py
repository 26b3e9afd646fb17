"""In how many frames of a video of two hands both are reported: lgnet following, lgnet frame by frame, and MediaPipe.

    python benchmarks/both_hands.py FILM.mp4 [--frames 250]

MediaPipe (extra `mediapipe`) looks at each frame by itself, as `--evidence mediapipe` does; its two hands count whatever
their sides, and once more where their sides differ; what lgnet reports always differs in side. With --together also lgnet
following with MediaPipe's key points. Nothing tells here whether the hands are where they should be; look at them.
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.progress import track

import lgnet
from lgnet.evidence import guide
from lgnet.follow import Following, follow, led
from lgnet.image_io import expand_inputs
from lgnet.mediapipe_hands import MediaPipeHands
from lgnet.video import open_film


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--frames", type=int, default=None, help="at most this many, from the first on")
    parser.add_argument("--every", type=int, default=1, help="count each so-manieth frame only; all are followed")
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--weights", default="lgnet-mobile")
    options = parser.parse_args()
    (item,) = expand_inputs([options.video])
    model, mediapipe = lgnet.load(options.weights), MediaPipeHands()
    rows = ["lgnet, following", "lgnet, each frame by itself", "MediaPipe", "MediaPipe, of both sides"]
    counts = dict.fromkeys(rows + ["lgnet following, with MediaPipe's key points"] * options.together, 0)
    plain, guided, seen = Following(), Following(), 0
    with open_film(item, options.frames) as film:
        for index, frame in enumerate(track(film.frames, console=Console(stderr=True), transient=True)):
            step = follow(model, plain, frame.image)
            plain = step.state
            points = mediapipe.see(frame.image) if options.together or index % options.every == 0 else []
            found = [step.hands, None]
            if options.together:
                other = follow(model, guided, frame.image)
                other = led(other, guide(model, other.hands, frame.image, points))
                guided = other.state
                found[1] = other.hands
            if index % options.every:
                continue
            seen += 1
            counts[rows[0]] += len(step.hands.hands) == 2
            counts[rows[1]] += len(model(frame.image).hands) == 2
            counts[rows[2]] += len(points) == 2
            counts[rows[3]] += len({one.side for one in points}) == 2
            if found[1] is not None:
                counts[[*counts][-1]] += len(found[1].hands) == 2
    for name, count in counts.items():
        print(f"{name}: {count} of {seen} frames")


if __name__ == "__main__":
    main()
