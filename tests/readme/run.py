"""Follows README.md to the letter, as a new user would: in a fresh copy of this project, each code block runs as it is printed, in
order, and has to do what the sentence before it says.

Departs from the letter in three things: a free port in place of 7000, an Ollama of its own (with the model that is in `.ollama/`),
and the build cache of this project. The installation as a service runs in `make test-host`, PowerShell where there is one.
"""

import contextlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))

from stage import ROOT, Stage, free_port  # noqa: E402

# With the build of the gateway.
RUN_SECONDS_MAX = 1200
BLOCK_SECONDS_MAX = 180
STOP_SECONDS_MAX = 60

# What is typed where a command asks for a password.
PASSWORD = "quiet lamps over water"
PROMPT = re.compile(rb"(New password for [^\n]*|The same once more): ?$")


class Reader:
    """Somebody with a terminal who runs one block after the other."""

    def __init__(self, folder, port):
        self.folder = folder
        self.port = port
        # `make run` must not be told anything that a new user would not have set.
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith(("LGW_", "OPENAI_", "GATEWAY_"))}
        self.environment["HOME"] = str(folder.parent)
        self.environment |= {name: os.environ[name] for name in ("CARGO_HOME", "RUSTUP_HOME") if name in os.environ}
        self.environment.setdefault("CARGO_HOME", str(pathlib.Path.home() / ".cargo"))
        self.environment.setdefault("RUSTUP_HOME", str(pathlib.Path.home() / ".rustup"))

    def bash(self, text):
        """Runs a block on a terminal, and keeps the variables that it sets. Returns what it prints."""
        kept = self.folder.parent / "variables"
        script = f"set -eo pipefail; set -a\n{self.on_its_port(text)}\nset +x; env -0 >{kept}\n"
        printed = on_a_terminal(["bash", "-c", script], self.folder, self.environment)
        self.environment = dict(entry.split("=", 1) for entry in kept.read_text().split("\0") if entry)
        return printed

    def program(self, command, text, ending):
        """Runs a block as a program of another language."""
        file = self.folder.parent / f"block{ending}"
        file.write_text(text)
        done = subprocess.run([*command, file], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=BLOCK_SECONDS_MAX)
        want(done.returncode == 0, f"exit status {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def on_its_port(self, text):
        return text.replace("127.0.0.1:7000", f"127.0.0.1:{self.port}")


def on_a_terminal(command, folder, environment):
    """Runs a command on a terminal of its own, and types the password where one is asked for."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, environment)
    printed, deadline = b"", time.monotonic() + BLOCK_SECONDS_MAX
    asked = 0
    while True:
        if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
            os.kill(process, signal.SIGKILL)
            break
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # The other end is closed.
            break
        if not piece:
            break
        printed += piece
        if PROMPT.search(printed[asked:]):
            asked = len(printed)
            # The prompt comes a moment before the terminal stops to show what is typed.
            while termios.tcgetattr(terminal)[3] & termios.ECHO and time.monotonic() < deadline:
                time.sleep(0.01)
            os.write(terminal, PASSWORD.encode() + b"\n")
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.close(terminal)
    text = printed.decode(errors="replace").replace("\r\n", "\n")
    want(status == 0, f"exit status {status}:\n{text}")
    want(PASSWORD not in text, "a password was shown while it was typed")
    return text


class Failed(Exception):
    pass


def want(is_so, what):
    if not is_so:
        raise Failed(what)


# --- what each block has to do --------------------------------------------------------------


def first_answer(reader, text):
    printed = reader.bash(text)
    want(reader.environment["TOKEN"].startswith("lgw_"), "no token in TOKEN")
    answer = json.loads(re.search(r"^\{.*\}$", printed, re.MULTILINE).group(0))
    want(answer["message"]["content"].strip(), f"an empty answer: {answer}")
    want(re.search(r"ann@example\.org.*(completed|answered)", printed), f"the record names neither person nor outcome:\n{printed}")


def tool_token(reader, text):
    reader.bash(text)
    want(reader.environment["LGW_TOKEN"].startswith("lgw_"), "no token in LGW_TOKEN")


def answers_in(command, ending):
    def check(reader, text):
        want(reader.program(command, text, ending).strip(), "it printed no answer")
    return check


def node(reader, text):
    # Node looks for packages beside the script.
    packages = reader.folder.parent / "node_modules"
    if not packages.exists():
        packages.symlink_to(ROOT / "tests/sdk/node_modules")
    want(reader.program(["node", "--preserve-symlinks", "--preserve-symlinks-main"], text, ".mjs").strip(), "it printed no answer")


def powershell(reader, text):
    if not shutil.which("pwsh"):
        return "skipped: no PowerShell here"
    want(reader.program(["pwsh", "-NoProfile", "-File"], text, ".ps1").strip(), "it printed no answer")


def operate(reader, text):
    printed = reader.bash(text)
    for words in ("requests_per_minute", "configuration"):
        want(words in printed, f"`{words}` is not in what it prints:\n{printed}")
    want((reader.folder / "gateway.backup").stat().st_size > 0, "an empty backup")


def record(reader, text):
    printed = reader.bash(text)
    want("Explain MQTT" in printed, f"the request is not shown:\n{printed}")
    lines = (reader.folder / "ann.csv").read_text().splitlines()
    want("Explain MQTT" in "".join(lines) and lines[-1].startswith('"receipt:'), "the export is not complete")


def runs_in_make_test_host(_reader, text):
    want("the_commands_of_the_readme_install_it" in (ROOT / "tests/host/run.py").read_text(), "`make test-host` has no such check")
    return "skipped: it runs in make test-host"


# The blocks in their order: the section, the language, what runs it. `make run` stays up for all that follow.
MAKE_RUN = object()
BLOCKS = [
    ("Install", "bash", runs_in_make_test_host),
    ("Install", "bash", MAKE_RUN),
    ("First answer", "bash", first_answer),
    ("Connect your client", "bash", tool_token),
    ("Connect your client", "python", answers_in([sys.executable], ".py")),
    ("Connect your client", "js", node),
    ("Connect your client", "powershell", powershell),
    ("Operate", "bash", operate),
    ("Record", "bash", record),
]


def blocks(readme):
    """Returns section, language and text of each code block."""
    found, section = [], ""
    for heading, language, text in re.findall(r"^## ([^\n]*)$|^```(\w+)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL):
        if heading:
            section = heading
        else:
            found.append((section, language, text))
    return found


# --- the way through ------------------------------------------------------------------------


def is_made(path):
    """Whether a file or folder is no part of the project, as .gitignore has it."""
    at_the_top = path.parent == ROOT and path.name in (".git", "target", "data", "lan-gateway.toml", ".ollama", ".tools")
    return at_the_top or path.name in ("node_modules", "__pycache__") or path.name.startswith(".venv")


def fresh_copy(target):
    """Copies what a clone would have, uncommitted changes included, to where the compiler knows it from the last run."""
    folder = target / "readme/lan-gateway"
    shutil.rmtree(folder.parent, ignore_errors=True)
    shutil.copytree(ROOT, folder, ignore=lambda at, names: [name for name in names if is_made(pathlib.Path(at) / name)])
    (folder / "target").symlink_to(target)
    return folder


@contextlib.contextmanager
def make_run(reader, text, settings):
    """Runs the block of `make run` for as long as the others need it; yields what it has printed."""
    log = reader.folder.parent / "make-run.log"
    # What a shell starts in the background ignores Ctrl-C, and hands that down.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("wb") as output:
        process = subprocess.Popen(["bash", "-c", text], cwd=reader.folder, env={**reader.environment, **settings},
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + RUN_SECONDS_MAX
        while "Ctrl-C ends the gateway." not in (printed := log.read_text()):
            want(process.poll() is None and time.monotonic() < deadline, f"it did not serve:\n{printed[-4000:]}")
            time.sleep(0.2)
        yield printed
    finally:
        # What Ctrl-C does: to the whole group of the foreground.
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def main():
    found = blocks((ROOT / "README.md").read_text())
    said = [(section, language) for section, language, _ in found]
    want(said == [(section, language) for section, language, _ in BLOCKS],
         f"README.md has other code blocks than this test knows: {said}")

    failed, skipped, begun = [], 0, time.monotonic()
    with Stage() as stage, contextlib.ExitStack() as running:
        folder = fresh_copy(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve())
        reader = Reader(folder, free_port())
        for (section, language, text), (_, _, run) in zip(found, BLOCKS):
            title = f"{section}: {text.splitlines()[0].strip()} ({language})"
            try:
                if run is MAKE_RUN:
                    settings = {"PORT": str(reader.port), "LGW_OLLAMA__URL": stage.ollama()}
                    printed = running.enter_context(make_run(reader, text, settings))
                    same_commands(reader, printed, found)
                    said = None
                    # The sentence after it.
                    reader.environment["PATH"] = f"{folder}/target/quick:{reader.environment['PATH']}"
                else:
                    said = run(reader, text)
                skipped += said is not None
                print(f"{'PASSED' if said is None else said}  {title}", flush=True)
            except (Failed, subprocess.TimeoutExpired, KeyError, AttributeError, ValueError, OSError) as cause:
                print(f"FAILED  {title}\n{cause}", flush=True)
                failed.append(title)
                if run is MAKE_RUN:
                    break
    print(f"{len(found) - len(failed) - skipped} passed, {len(failed)} failed, {skipped} skipped in {time.monotonic() - begun:.1f}s")
    if failed:
        raise SystemExit(1)


def same_commands(reader, printed, found):
    """`make run` prints the same first commands, with its own address."""
    first = next(text for section, _, text in found if section == "First answer")
    for line in reader.on_its_port(first).splitlines():
        want(line in printed, f"make run doesn't print this line of README.md:\n{line}")
    for words in ("model         smollm2:135m", "no judge of the quality", "your network  "):
        want(words in printed, f"make run doesn't say `{words}`:\n{printed[-3000:]}")


if __name__ == "__main__":
    main()
