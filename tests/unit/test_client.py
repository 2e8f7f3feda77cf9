"""The client: types that match the protocol, both faces alike, restarts, and its distribution."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from nimad.client import types
from nimad.client.aio import AsyncClient
from nimad.client.client import REPEATABLE, Client
from nimad.errors import DaemonAbsent, RemoteError
from nimad.model import FIELDS, Memory
from nimad.serve import document_verbs, query_verb, wire
from tests.fake_daemon import FakeDaemon
from tests.process import DaemonProcess
from tests.threads import PATIENCE, side_by_side

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("b", ROOT / "packaging" / "build_client.py")
assert SPEC is not None and SPEC.loader is not None
build_client = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(build_client)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    daemon = DaemonProcess(
        tmp_path_factory.mktemp("client"), config="embedder: hash\n", fork=True
    ).start()
    yield daemon
    daemon.finish()


# --- types ----------------------------------------------------------------------------------------


def keys(kind: Any) -> set[str]:
    return set(get_type_hints(kind))


def test_the_types_are_those_of_the_protocol() -> None:
    shown = set(wire.memory_json(Memory("x")))
    assert keys(types.Memory) - {"cut"} == shown == {"id", *FIELDS} - {"blobs"}
    assert keys(types.Fields) == set(wire.REMEMBER) - {"text"} | {"time_zone"}
    assert keys(types.Part) == set(wire.PART)
    assert keys(types.Turn) == set(wire.TURN)
    assert keys(types.Asked) == set(query_verb.QUERY) - {"text"}
    assert keys(types.NewDocument) == set(document_verbs.DOCUMENT)
    assert keys(types.Sought) == set(document_verbs.FIND)


def test_both_faces_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, inspect.Signature]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {name: inspect.signature(f) for name, f in found if not name.startswith("_")}

    ours, theirs = methods(Client), methods(AsyncClient)
    assert ours.keys() == theirs.keys()
    for name, signature in ours.items():
        assert signature.parameters == theirs[name].parameters, name


# --- a real daemon --------------------------------------------------------------------------------


def test_what_is_asked_and_what_comes_back(daemon: DaemonProcess) -> None:
    with Client(str(daemon.socket)) as nimad:
        number = nimad.remember("The kettle sings.", who="Maya", namespace="typed")
        memory = nimad.get(number)
        assert memory["who"] == "Maya" and memory.keys() == keys(types.Memory) - {"cut"}
        answer = nimad.query("kettle", namespace="typed", explain=True)
        assert answer["results"][0]["id"] == number
        turn = {"session": "s", "turn": "t", "namespace": "typed", "input": "a", "output": "b"}
        (stored,) = nimad.capture(turn)  # type: ignore[arg-type]
        (near, *_) = nimad.related(stored["ids"]["input"])
        assert (near["relation"], near["direction"]) == ("responded_to", "in")
        assert number in {one["id"] for one in nimad.similar(stored["ids"]["input"])} | {number}
        assert [m["text"] for m in nimad.export("typed")] == ["The kettle sings.", "a", "b"]
        receipt = nimad.forget([number], dry_run=True)
        assert receipt["forgotten"] == [number] and receipt.keys() == keys(types.Receipt)
        assert nimad.status()["memories"] >= 3
        with pytest.raises(RemoteError) as caught:
            nimad.get(999_999)
        assert caught.value.code == "not_found" and caught.value.next_step


def test_documents_of_any_number_and_size_come_whole(daemon: DaemonProcess) -> None:
    with Client(str(daemon.socket)) as nimad:
        for n in range(5):
            value = {"n": n, "body": "x" * 300_000}
            nimad.put({"namespace": "large", "key": str(n), "value": value, "text": f"ball {n}"})
        found = nimad.find(tree="large", limit=5)
        assert [document["value"]["n"] for document in found] == [4, 3, 2, 1, 0]
        wanted = ["3", "absent", "0", "4", "1", "2"]
        found = nimad.find(namespace="large", keys=wanted)
        assert [document["key"] for document in found] == ["3", "0", "4", "1", "2"]
        assert len(nimad.find(tree="large", query="ball", limit=4)) == 4
        nimad.put(*({"namespace": f"many.n{n}", "key": "k", "value": {}} for n in range(30)))
        assert len(nimad.namespaces("many")) == 30
        few = [{"namespace": "few", "key": str(n), "value": {"n": n}} for n in range(1050)]
        for start in range(0, 1050, 350):
            nimad.put(*few[start : start + 350])  # type: ignore[arg-type]
        assert len(nimad.find(tree="few", limit=2000)) == 1050
        assert len(nimad.find(tree="few", limit=1020)) == 1020
        named = nimad.find(namespace="few", keys=[str(n) for n in range(150)])
        assert [document["value"]["n"] for document in named] == list(range(150))
        nimad.put({"namespace": "large", "key": "0", "value": None})
        assert nimad.find(namespace="large", keys=["0"]) == []


def test_a_restart_is_noticed_and_an_absent_daemon_is_told(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path / "s", query={"results": []}) as fake:
        nimad = Client(str(fake.path))
        assert nimad.query("kettle") == {"results": []}
        fake.answers["query"] = FakeDaemon.DROP
        fake.stop()
        with pytest.raises(DaemonAbsent) as caught:
            nimad.query("kettle")
        assert "systemctl start nimad" in caught.value.next_step
        fake.answers["query"] = {"results": []}
        fake.start()
        assert nimad.query("kettle") == {"results": []}
        nimad.close()


def test_what_was_cut_off_is_asked_again_only_where_that_does_no_harm(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path / "s") as fake:
        fake.answers |= dict.fromkeys(("remember", "capture", "query"), FakeDaemon.DROP)
        with Client(str(fake.path)) as nimad:
            for verb, times in {"remember": 1, "capture": 2, "query": 2}.items():
                assert (verb in REPEATABLE) == (times == 2)
                with pytest.raises(DaemonAbsent):
                    nimad.call(verb, text="x")
                assert len(fake.sent(verb)) == times


def test_many_threads_share_a_client(daemon: DaemonProcess) -> None:
    with Client(str(daemon.socket)) as nimad:
        ids: list[int] = []
        with side_by_side(
            lambda n=n: ids.append(nimad.remember(f"thread {n}"))  # type: ignore[misc]
            for n in range(12)
        ):
            pass
        assert len(set(ids)) == 12


def test_calls_of_a_coroutine_go_on_side_by_side(daemon: DaemonProcess) -> None:
    async def main() -> tuple[list[int], list[str]]:
        async with AsyncClient(str(daemon.socket)) as nimad:
            work = (nimad.remember(f"bee {n}", namespace="bees") for n in range(6))
            ids = await asyncio.gather(*work)
            return ids, [memory["text"] async for memory in nimad.export("bees")]

    ids, texts = asyncio.run(main())
    assert len(set(ids)) == 6 and sorted(texts) == [f"bee {n}" for n in range(6)]


# --- the distribution -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package as it is distributed."""
    place = tmp_path_factory.mktemp("package")
    with zipfile.ZipFile(build_client.build(place)) as wheel:
        wheel.extractall(place)
    return place


def run(package: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A script in a Python that sees the package and the standard library, nothing else."""
    begin = f"import sys; sys.path.insert(0, {str(package)!r})\n"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", begin + script],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_it_needs_nothing_but_python_and_says_nimad_nowhere_else(package: Path) -> None:
    script = (
        "import nimad_client\n"
        "print(nimad_client.__version__, *sorted(n for n in sys.modules if 'nimad' in n))"
    )
    ran = run(package, script)
    assert ran.returncode == 0, ran.stderr
    version, *modules = ran.stdout.split()
    assert version and all(name.startswith("nimad_client") for name in modules)
    for name, text in build_client.sources().items():
        assert not re.search(r"^\s*(from|import) nimad[. ]", text, re.MULTILINE), name


def test_the_wheel_is_one_that_pip_takes_and_the_same_each_time(
    tmp_path: Path, package: Path
) -> None:
    wheel = build_client.build(tmp_path)
    assert wheel.read_bytes() == next(package.glob("*.whl")).read_bytes()
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--quiet", "--target"]
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("this environment has no pip")
    subprocess.run([*pip, str(tmp_path / "there"), str(wheel)], check=True, capture_output=True)
    assert (tmp_path / "there" / "nimad_client" / "py.typed").exists()


def test_the_examples_run(package: Path, make_daemon: Callable[..., DaemonProcess]) -> None:
    daemon = make_daemon().start()
    text = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 6
    ours = [example for example in examples if "langgraph" not in example]  # tests/agents has it
    ran = run(package, "\n".join(ours), NIMAD_SOCKET=str(daemon.socket))
    assert ran.returncode == 0, ran.stderr
    printed = ran.stdout
    for said in ("Maya The kettle is fixed", "stored {", "responded_to", "about bees", "not_found"):
        assert said in printed
    assert "{'text': 'Anna likes green tea.', 'cups': 3}" in printed and "people.anna" in printed
