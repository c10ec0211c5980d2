"""The files of deploy/ are right as far as tools can tell, and name metrics, settings and numbers that are so."""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import unittest

import support
import yaml
from support import DEPLOY, PROGRAM, Node, Redis

# Of a sample, but set by Prometheus.
SCRAPED = {"job", "instance"}
# A backend that is told and asked: what a webhook counts is there once there is one. Nobody listens there.
SECRET = "whsec_" + "A" * 43 + "="
BACKEND = [
    f"{table}.shop.{setting}"
    for table in ("webhooks", "authorize")
    for setting in ("url=http://127.0.0.1:9/", f"secret={SECRET}")
]
BACKEND += ["webhooks.shop.events=room.opened", "authorize.shop.asks=join", "authorize.shop.kinds=default"]


def run(*command, **options):
    """What it prints, on both streams; with an error if it fails."""
    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def tool(name):
    return f"{sys.prefix}/bin/{name}"


def seconds(time):
    """Of a time as in the settings, or as in systemd, HAProxy and nginx."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)?", str(time)).groups()
    return int(number) * {"ms": 0.001, None: 1, "s": 1, "m": 60, "h": 3600}[unit]


def default(key):
    """A key's default, from the example."""
    section, name = key.split(".")
    text = (support.ROOT / "roomcast.example.toml").read_text().split(f"\n[{section}]\n")[1]
    return re.search(rf'^#{name} = "?([^"\n]*)"?$', text, re.MULTILINE)[1]


def setting(text, name):
    return re.search(rf'^\s*{name} = "?([^"\n]*)"?$', text, re.MULTILINE)[1]


class Metrics(unittest.TestCase):
    """deploy/grafana.json and deploy/alerts.yml."""

    @classmethod
    def setUpClass(cls):
        rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text())
        cls.alerts = [rule for group in rules["groups"] for rule in group["rules"]]
        cls.dashboard = json.loads((DEPLOY / "grafana.json").read_text())
        panels = [panel for panel in cls.dashboard["panels"] if panel["type"] != "row"]
        variables = [it["definition"] for it in cls.dashboard["templating"]["list"] if it["type"] == "query"]
        cls.queries = [target["expr"] for panel in panels for target in panel["targets"]]
        cls.texts = [rule["expr"] for rule in cls.alerts] + cls.queries + variables

    def samples(self):
        """Of a node with a Redis: each name's labels, and the values of each."""
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="roomcast-deploy-"))
            redis = Redis(directory)
            stack.callback(redis.stop)
            node = Node(directory, "node", redis, *BACKEND).ready()
            stack.callback(node.stop)
            # Some codes are counted from their first time on.
            support.connect_once(f"ws://127.0.0.1:{node.port}/ws")
            text = support.get(f"http://127.0.0.1:{node.admin_port}/metrics").text
        found = {}
        for name, labels in re.findall(r"^(\w+)(?:{(.*)})? \S+$", text, re.MULTILINE):
            values = found.setdefault(name, {})
            for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
                values.setdefault(label, set()).add(value)
        return found

    def test_the_server_has_each_metric_with_the_labels_and_values(self):
        samples = self.samples()
        names = set()
        for text in self.texts:
            of_text = re.findall(r"\b(roomcast_\w+)(?:{([^}]*)})?", text)
            self.assertTrue(of_text or text.startswith("up{"), text)
            labels_of_text = SCRAPED.copy()
            for name, selector in of_text:
                names.add(name)
                self.assertIn(name, samples, text)
                labels_of_text |= set(samples[name])
                for label, how, value in re.findall(r'(\w+)(=~|=|!=|!~)"([^"]*)"', selector):
                    if label in SCRAPED:
                        continue
                    self.assertIn(label, samples[name], text)
                    for one in value.split("|") if "~" in how else [value]:
                        self.assertIn(one, samples[name][label], text)
            for grouping in re.findall(r"\b(?:by|without) \(([^)]*)\)", text):
                self.assertLessEqual(set(re.findall(r"\w+", grouping)), labels_of_text, text)
        self.assertGreater(len(names), 40)

    def test_each_alert_says_how_urgent_it_is_and_what_to_do(self):
        for rule in self.alerts:
            self.assertIn(rule["labels"]["severity"], ("page", "ticket"))
            self.assertLessEqual({"summary", "description"}, set(rule["annotations"]), rule["alert"])

    def test_prometheus_takes_the_rules_and_they_fire_when_they_should(self):
        self.assertIn(f"{len(self.alerts)} rules found", run("promtool", "check", "rules", DEPLOY / "alerts.yml"))
        self.assertIn("SUCCESS", run("promtool", "test", "rules", support.ROOT / "tests/deploy/alerts_test.yml"))

    def test_prometheus_takes_the_queries_of_the_dashboard(self):
        queries = [query.replace("$__rate_interval", "5m").replace("$instance", ".*") for query in self.queries]
        rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
            file.flush()
            self.assertIn(f"{len(queries)} rules found", run("promtool", "check", "rules", file.name))

    def test_the_panels_do_not_cover_each_other(self):
        taken = set()
        for panel in self.dashboard["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
        ids = [panel["id"] for panel in self.dashboard["panels"]]
        self.assertEqual(len(set(ids)), len(ids))


class Settings(unittest.TestCase):
    """The settings are accepted by the binary, and the others' numbers fit them."""

    def check(self, path):
        with tempfile.TemporaryDirectory() as directory:
            env = support.environment(directory)
            return run(PROGRAM, "check", "--offline", "--config", path, cwd=directory, env=env)

    def test_the_settings_are_right(self):
        self.check(DEPLOY / "roomcast.toml")
        self.check(DEPLOY / "container/roomcast.toml")
        documents = yaml.safe_load_all((DEPLOY / "kubernetes/roomcast.yaml").read_text())
        text = next(it for it in documents if it["kind"] == "ConfigMap")["data"]["roomcast.toml"]
        with tempfile.TemporaryDirectory() as directory, open(f"{directory}/it.toml", "w") as file:
            secret = f"{directory}/redis-password"
            open(secret, "w").write("secret\n")
            file.write(text.replace("/etc/roomcast/secrets/redis-password", secret))
            file.flush()
            run(
                PROGRAM, "check", "--offline", "--config", file.name, cwd=directory,
                env=support.environment(directory) | {"ROOMCAST_CLUSTER_ADVERTISE": "10.1.2.3:7400"},
            )  # fmt: skip

    def test_nobody_kills_a_node_before_its_deadline(self):
        deadline = seconds(setting((DEPLOY / "roomcast.toml").read_text(), "deadline"))
        self.assertEqual(deadline, seconds(default("shutdown.deadline")))
        unit = (DEPLOY / "systemd/roomcast.service").read_text()
        self.assertGreaterEqual(seconds(re.search(r"^TimeoutStopSec=(.*)$", unit, re.MULTILINE)[1]), deadline + 5)
        compose = yaml.safe_load((DEPLOY / "container/compose.yaml").read_text())
        self.assertGreaterEqual(seconds(compose["services"]["roomcast"]["stop_grace_period"]), deadline + 5)
        documents = list(yaml.safe_load_all((DEPLOY / "kubernetes/roomcast.yaml").read_text()))
        pod = next(it for it in documents if it["kind"] == "Deployment")["spec"]["template"]["spec"]
        before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        settings = next(it for it in documents if it["kind"] == "ConfigMap")["data"]["roomcast.toml"]
        deadline = seconds(setting(settings, "deadline"))
        self.assertGreaterEqual(pod["terminationGracePeriodSeconds"], before + deadline + 5)

    def test_proxies_wait_for_longer_than_a_living_connection_is_silent_and_than_a_node_does(self):
        silence = seconds(default("heartbeat.pong_timeout"))
        nginx, haproxy = ((DEPLOY / name).read_text() for name in ("nginx.conf", "haproxy.cfg"))
        for name in ("proxy_read_timeout", "proxy_send_timeout"):
            self.assertGreater(seconds(re.search(rf"{name} (\w+);", nginx)[1]), silence)
        self.assertGreater(seconds(re.search(r"timeout tunnel (\w+)", haproxy)[1]), silence)

    def test_haproxy_sees_that_a_node_drains_before_it_refuses_clients(self):
        haproxy = (DEPLOY / "haproxy.cfg").read_text()
        parts = (r"check inter (\w+)", r"fastinter (\w+)", r"timeout connect (\w+)")
        notices = sum(seconds(re.search(part, haproxy)[1]) for part in parts)
        self.assertGreater(seconds(setting((DEPLOY / "roomcast.toml").read_text(), "delay")), notices)


class Tools(unittest.TestCase):
    """What the tools of others say."""

    def test_systemd_takes_the_unit(self):
        with tempfile.TemporaryDirectory() as directory:
            path = f"{directory}/roomcast.service"
            unit = (DEPLOY / "systemd/roomcast.service").read_text()
            open(path, "w").write(unit.replace("/usr/local/bin/roomcast", str(PROGRAM)))
            self.assertEqual(run("systemd-analyze", "verify", "--man=no", path), "")
            exposure = run("systemd-analyze", "security", "--offline=yes", "--no-pager", path)
        self.assertLessEqual(float(re.search(r"exposure level for \S+ (\d+\.\d+)", exposure)[1]), 1.5)

    def test_kubernetes_takes_the_manifests(self):
        # The first version with preStop.sleep, and the newest that is known here.
        for version in (["-k", "1.30"], []):
            for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
                run(tool("kubernetes-validate"), "--strict", "--no-warn", *version, path)

    def test_selectors_and_names_of_the_manifests_fit_each_other(self):
        documents = []
        for path in (DEPLOY / "kubernetes").glob("*.yaml"):
            documents += list(yaml.safe_load_all(path.read_text()))
        pods = [it["spec"]["template"] for it in documents if "template" in it["spec" if "spec" in it else "metadata"]]
        self.assertEqual(len(pods), 2)
        for it in documents:
            selector = it.get("spec", {}).get("selector", {})
            labels = selector.get("matchLabels", selector)
            self.assertTrue(not labels or any(labels == pod["metadata"]["labels"] for pod in pods), it["metadata"])
        for pod in pods:
            volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])} | {"data"}
            for container in pod["spec"]["containers"]:
                self.assertLessEqual({mount["name"] for mount in container["volumeMounts"]}, volumes)

    def test_compose_takes_its_file(self):
        path = DEPLOY / "container/compose.yaml"
        self.assertIn("ok", run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", path))
