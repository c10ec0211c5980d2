"""The image, as far as it can be tested without a second build of the server: deploy/container."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import support
import yaml
from support import DEPLOY, PROGRAM, ROOT

CONTAINER = DEPLOY / "container"
NOBODY = "65534:65534"


def lines(name):
    """Each instruction of the Containerfile, and what follows it."""
    text = (CONTAINER / "Containerfile").read_text()
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


class Image(unittest.TestCase):
    def test_it_has_nothing_but_the_binary_its_settings_and_certificates(self):
        self.assertEqual(lines("FROM"), ["scratch"])
        self.assertEqual(lines("USER"), [NOBODY])
        self.assertEqual(lines("RUN") + lines("ADD"), [])
        copied = dict(line.split() for line in lines("COPY"))
        self.assertEqual(set(copied), {"roomcast", "roomcast.toml", "ca-certificates.crt"})
        self.assertEqual(lines("ENTRYPOINT"), [f'["{copied["roomcast"]}"]'])
        # Where the server looks for its settings.
        self.assertEqual(lines("WORKDIR"), [os.path.dirname(copied["roomcast.toml"])])

    def test_its_commands_serve_and_tell_that_they_do(self):
        (check,) = lines("HEALTHCHECK")
        self.assertIn('CMD ["/roomcast", "healthcheck"]', check)
        port, metrics = support.free_port(), support.free_port()
        with tempfile.TemporaryDirectory(prefix="roomcast-image-") as directory:
            settings = support.replaced(
                (CONTAINER / "roomcast.toml").read_text(),
                (r"0\.0\.0\.0:8080", f"127.0.0.1:{port}"),
                (r"0\.0\.0\.0:9090", f"127.0.0.1:{metrics}"),
            )
            pathlib.Path(directory, "roomcast.toml").write_text(settings)
            options = {"cwd": directory, "env": support.environment(directory), "stdout": subprocess.DEVNULL}
            with subprocess.Popen([PROGRAM], stderr=subprocess.DEVNULL, **options) as server:
                try:
                    support.until(lambda: support.answers(port) and support.answers(metrics), "the server")
                    self.assertEqual(subprocess.run([PROGRAM, "healthcheck"], **options).returncode, 0)
                finally:
                    server.kill()
            sick = subprocess.run([PROGRAM, "healthcheck"], stderr=subprocess.DEVNULL, **options)
            self.assertNotEqual(sick.returncode, 0)

    def test_its_version_and_port_are_those_that_others_name(self):
        version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
        image = f"localhost/roomcast:{version}"
        compose = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
        self.assertEqual(compose["services"]["roomcast"]["image"], image)
        docs = (ROOT / "docs/deployment.md").read_text()
        self.assertRegex(docs, rf"(?m)^deploy/container/build +# {re.escape(image)}, ")
        for port in lines("EXPOSE"):
            self.assertIn(f'"0.0.0.0:{port}"', (CONTAINER / "roomcast.toml").read_text())

    def test_a_binary_that_is_not_static_is_refused(self):
        with tempfile.TemporaryDirectory(prefix="roomcast-image-") as directory:
            place = pathlib.Path(directory)
            triple = re.search(r"^host: (.*)$", subprocess.check_output(["rustc", "-vV"], text=True), re.MULTILINE)[1]
            built = place / "target" / triple / "release"
            built.mkdir(parents=True)
            shutil.copy(PROGRAM, built / "roomcast")
            # It was built already, and not as the file wants it. No image is made, whatever is installed here.
            (place / "bin").mkdir()
            for name, code in {"cargo": 0, "buildah": 1}.items():
                (place / "bin" / name).write_text(f"#!/bin/sh\nexit {code}\n")
                (place / "bin" / name).chmod(0o755)
            env = os.environ | {"PATH": f"{place}/bin:{os.environ['PATH']}", "CARGO_TARGET_DIR": f"{place}/target"}
            done = subprocess.run([CONTAINER / "build"], env=env, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("the binary is not static", done.stderr)
