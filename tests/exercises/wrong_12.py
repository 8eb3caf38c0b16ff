"""Wrong answers to the exercises of notebook 12, each with words of the reason that the learner gets."""

WRONG = {
    "12.1": [
        (
            'def how_it_ended(code): return "failed with " + str(code) if code else "succeeded"',
            "should return 'killed by SIGTERM'",
        ),
        (
            """
import signal
def how_it_ended(code):
    return "succeeded" if code == 0 else f"killed by {signal.Signals(code % 128).name}"
""",
            "how_it_ended(3) returns 'killed by SIGQUIT' and should return 'failed with 3'",
        ),
    ],
    "12.2": [
        ("def read_log(lines, stream): return [line.split()[3] for line in lines if stream in line]", "returns ['oh']"),
        (
            """
def read_log(lines, stream):
    return [line.split(" ", 3)[3] for line in lines if line.split()[1] == stream]
""",
            "and should return ['hello', 'a long line in parts', '']",
        ),
    ],
}
