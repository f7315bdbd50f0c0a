"""The load that `make release-pgo` takes its profile from: whole answers and streams, as many at once as it can bear."""

from setting import PROGRAMS, a_setting
from side_by_side import STREAMS, run

SECONDS = 10
# More than a build that watches itself can answer, so that work piles up and is done in batches.
PER_SECOND = 6000


def main():
    client = PROGRAMS / "bench-client"
    with a_setting(with_nginx=False) as setting:
        gateway = setting.gateway
        for load in (["rate", gateway.url, PER_SECOND, SECONDS], ["streams", gateway.url, "stream", STREAMS, SECONDS]):
            answered = run([client, *load], gateway.token, SECONDS)
            if answered.get("failed") or not answered["answers"]:
                raise SystemExit(f"the build to be watched does not work: {answered}")


if __name__ == "__main__":
    main()
