"""The API for backends, by code that knows nothing of it but its OpenAPI document, and the commands of docs/api.md."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest
import urllib.request

import schemathesis
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from support import DEADLINE, ROOT, Json, Server

KEY = "a-key-of-these-tests-which-is-long-enough"


def rights():
    """All rights that the configuration knows."""
    text = (ROOT / "crates/server/src/api/rights.rs").read_text()
    return re.findall(r'Right::\w+ => "(\w+)"', text)


def start():
    sets = {
        "api_keys.all.key": KEY,
        "api_keys.all.rights": ",".join(rights()),
        "api_keys.all.rate": "0",
    }
    arguments = [word for item in sets.items() for word in ("--set", "=".join(item))]
    return Server(*arguments)


class Document(unittest.TestCase):
    def setUp(self):
        self.server = start()
        self.addCleanup(self.server.stop)
        self.base = f"http://127.0.0.1:{self.server.port}/api/v1"
        with urllib.request.urlopen(f"{self.base}/openapi.json", timeout=DEADLINE) as answer:
            self.document = json.load(answer)

    def test_the_document_is_valid(self):
        errors = [error.message for error in OpenAPIV31SpecValidator(self.document).iter_errors()]
        self.assertEqual(errors, [])

    def test_a_generated_client_finds_what_the_document_says(self):
        schema = schemathesis.openapi.from_dict(self.document)
        for operation in schema.get_all_operations():
            operation = operation.ok()
            # It has no end that a generated client would wait for.
            if operation.path.endswith("/tail"):
                continue
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                self.ask(operation, mode)

    def ask(self, operation, mode):
        from hypothesis import HealthCheck, Phase, given, settings

        strategy = operation.as_strategy(generation_mode=mode)
        none = list(HealthCheck)

        @given(case=strategy)
        @settings(
            max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=none,
            phases=[Phase.explicit, Phase.generate],
        )
        def check(case):
            answer = case.call(base_url=self.base, headers={"Authorization": f"Bearer {KEY}"})
            # What a schema allows and the server refuses, such as a name with a space, is no fault; a 500 is, and an answer
            # that the document does not have.
            case.validate_response(
                answer,
                checks=[
                    schemathesis.checks.not_a_server_error,
                    schemathesis.checks.status_code_conformance,
                    schemathesis.checks.content_type_conformance,
                    schemathesis.checks.response_schema_conformance,
                ],
            )

        try:
            check()
        except Exception as error:
            kind = type(error).__name__
            if mode == GenerationMode.NEGATIVE and kind in ("Unsatisfiable", "SkipTest"):
                return
            raise


class Page:
    """A reader who does what a page says, in one directory."""

    def __init__(self, test):
        self.test = test
        directory = tempfile.TemporaryDirectory()
        test.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.server = self.member = None

    def serve(self):
        """`roomcast serve`, again if it ran before, and somebody in a room."""
        self.stop()
        self.server = Server(directory=self.directory)
        self.member = Json(self.server.port)
        self.member.send("join_room", "chat:42")
        self.member.of_type("joined")

    def stop(self):
        if self.server is not None:
            self.member.close()
            self.server.stop()

    def run(self, commands):
        """What they print. The page's server is where a server is by default."""
        program = pathlib.Path(os.environ.get("ROOMCAST_BIN", ROOT / "target/release/roomcast")).resolve()
        address = f"127.0.0.1:{self.server.port}" if self.server else "127.0.0.1:0"
        text = f'roomcast() {{ "{program}" "$@"; }}\n' + commands.replace("127.0.0.1:8080", address)
        done = subprocess.run(
            ["bash", "-ec", text],
            cwd=self.directory,
            env=os.environ | {"ROOMCAST_ADMIN_URL": f"http://{address}"},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        self.test.assertEqual(done.returncode, 0, f"{commands}\n{done.stderr}")
        return done.stdout


class Commands(unittest.TestCase):
    def test_the_commands_of_the_page_do_what_they_say(self):
        text = (ROOT / "docs/api.md").read_text()
        page = Page(self)
        self.addCleanup(page.stop)
        blocks = re.findall(r"```sh\n(.*?)```\n(?:\n```json\n(.*?)```)?", text, re.S)
        asked = 0
        for commands, answer in blocks:
            if "roomcast sub" in commands:
                # It has no end.
                continue
            if commands.endswith("\nroomcast serve\n"):
                page.run(commands.removesuffix("roomcast serve\n"))
                page.serve()
                continue
            told = page.run(commands)
            if "curl" not in commands:
                continue
            told = json.loads(told)
            self.assertNotIn(told.get("status"), (401, 403), f"{commands}\n{told}")
            if answer:
                self.assertEqual(shape(told), shape(json.loads(answer)), commands)
            if asked == 0:
                self.assertEqual(page.member.of_type("event")["name"], "shipped")
            asked += 1
        self.assertGreater(asked, 1)


def shape(value):
    """The names and the kinds of what is in an answer."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__
