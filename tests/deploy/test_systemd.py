"""The unit under a real systemd, in a container of this machine's own files: as docs/deployment.md installs it."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import support
from support import DEPLOY, PROGRAM, replaced

HERE = pathlib.Path(__file__).parent / "systemd"


class Systemd(unittest.TestCase):
    @unittest.skipUnless(os.getuid() == 0 and shutil.which("systemd-nspawn"), "needs root and systemd-nspawn")
    def test_it_starts_reloads_comes_back_after_a_crash_and_ends_in_good_order(self):
        with tempfile.TemporaryDirectory(prefix="roomcast-systemd-") as directory:
            out = pathlib.Path(directory)
            settings = (DEPLOY / "roomcast.toml").read_text()
            settings = replaced(
                settings, ('^engine = "redis"', 'engine = "memory"'), (r'^delay = "3s"', 'delay = "100ms"')
            )
            settings = replaced(settings, (r"^\[redis\]\nurls = .*\n", ""))
            (out / "roomcast.toml").write_text(settings)
            shutil.copy(DEPLOY / "systemd/roomcast.service", out)
            shutil.copy(HERE / "inside.sh", out)
            shutil.copy(PROGRAM, out / "roomcast")
            command = ["unshare", "--mount", "bash", HERE / "boot.sh", directory]
            done = subprocess.run(command, capture_output=True, text=True, timeout=3 * support.DEADLINE)
            if not (out / "told").exists():
                self.skipTest(f"no systemd can be booted here: {done.stderr.strip()}")
            told = dict(line.split("=", 1) for line in (out / "told").read_text().splitlines())
            log = (out / "log").read_text(errors="replace")
        print(told.pop("booted"), end=" ... ", flush=True)
        self.assertTrue(re.fullmatch(r"6[1-5]\d\d\d", told.pop("user")), log)  # one of DynamicUser
        wanted = {
            "ready": "0",
            "capabilities": "0000000000000000",
            "filtered": "2",
            "secrets": "0",
            "reloaded": "0",
            "after_reload": "1",
            "after_a_crash": "0",
            "stopped": "success/0",
            "wrong_settings": "78, started again 0 times",
        }
        self.assertEqual(told, wanted, log)
