"""nginx and HAProxy, with the files of deploy/, in front of two nodes with a Redis: TLS, addresses, timeouts, draining."""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
import unittest

import support
from roomcast import Client, Gap, Left, Message
from support import DEADLINE, HOST, HAProxy, Nginx, Node, Redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


class Behind:
    """Two nodes behind one kind of proxy. Each test has its own."""

    Proxy = None
    two_seconds = ()  # what makes the proxy wait for so long only

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)

    def start(self, *settings, lease="500ms", changes=()):
        """A node opens rooms when its lease is over, so the default of 3 s takes the longest of most tests."""
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="roomcast-deploy-"))
        self.context = support.make_certificate(self.directory)
        self.redis = Redis(self.directory)
        stack.callback(self.redis.stop)
        settings = (*self.Proxy.settings, f"redis.lease={lease}", *settings)
        self.nodes = [Node(self.directory, f"node-{number}", self.redis, *settings) for number in (1, 2)]
        stack.callback(lambda: [node.stop() for node in self.nodes])
        for node in self.nodes:
            node.ready()
        self.proxy = self.Proxy(self.directory, self.nodes, changes)
        stack.callback(self.proxy.stop)
        self.token = support.token(self.directory, "ann")

    async def connect(self, source="127.0.0.1", token=True, **headers):
        """A WebSocket through the proxy, by the name that its certificate is for."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            headers["Authorization"] = f"Bearer {self.token}"
        client = await connect(
            f"wss://{HOST}/ws",
            host="127.0.0.1",
            port=self.proxy.port,
            local_addr=(source, 0),
            ssl=self.context,
            additional_headers=headers,
            subprotocols=["gameproto.v1.json"],
            ping_interval=None,
        )
        self.addCleanup(client.transport.abort)
        return client

    async def says(self, client, message, answer):
        await client.send(json.dumps(message))
        async with asyncio.timeout(DEADLINE):
            while answer not in (said := await client.recv()):
                self.assertIn("welcome", said)

    async def refused(self, **how):
        """The status that a connection is refused with."""
        with self.assertRaises(InvalidStatus) as refusal:
            await self.connect(**how)
        return refusal.exception.response.status_code

    async def opened(self, wanted):
        """Waits until each node has had so many connections; a busy one counts them late."""
        nodes = [node for node in self.nodes if node.process.poll() is None]

        def counts():
            return [node.metric("roomcast_connections_opened_total") for node in nodes]

        await asyncio.to_thread(support.until, lambda: wanted(counts()), "connections, as far as they were counted")
        return counts()

    def get(self, path):
        return support.get(f"https://127.0.0.1:{self.proxy.port}{path}", self.context)

    # --- what has to hold behind both ---

    async def test_browsers_of_the_own_name_come_in_and_other_pages_do_not(self):
        self.start()
        self.assertEqual((await self.connect(Origin=f"https://{HOST}")).subprotocol, "gameproto.v1.json")
        self.assertEqual(await self.refused(Origin="https://evil.example"), 403)
        self.assertEqual(sum(await self.opened(lambda counts: sum(counts) > 0)), 1)

    async def test_who_came_by_a_proxy_is_no_program_of_this_machine(self):
        """To which a node on loopback would need no token."""
        self.start()
        client = await self.connect(token=False)
        join = {"type": "join_room", "payload": {"room_id": "room", "nickname": "Ann"}}
        await self.says(client, join, '"unauthorized"')

    async def test_nothing_but_the_way_in_and_the_sdk_is_to_be_had(self):
        self.start()
        for path in ("/", "/metrics", "/console", "/api/v1/openapi.json", "/healthz", "/readyz", "/ws/x"):
            self.assertEqual(self.get(path).status, 404, path)
        self.assertEqual(self.get("/sdk/roomcast.js").status, 200)

    async def test_who_gets_no_websocket_hears_at_once_and_speaks_at_any_node(self):
        self.start("heartbeat.ping_interval=500ms", "heartbeat.pong_timeout=20s", changes=self.two_seconds)
        await asyncio.to_thread(self.speak)

    def speak(self):
        tokens = [support.token(self.directory, name) for name in ("ann", "bob", "cleo", "dan")]
        streams = [support.EventStream(self.proxy.port, self.context, token) for token in tokens]
        self.addCleanup(lambda: [stream.close() for stream in streams])
        for stream in streams:
            self.assertEqual(stream.post({"type": "hello", "payload": {"version": 1}}), 204)
            stream.until("welcome")
            self.assertEqual(stream.post({"type": "join_room", "room_id": "chat:42"}), 204)
            stream.until("joined")
        for number in range(20):
            # Each request is another connection, which the proxy takes where it likes.
            self.assertEqual(streams[number % 4].post({"type": "chat", "payload": f"{number}"}), 204)
            for stream in streams:
                self.assertEqual(stream.until("chat")["payload"], f"{number}")
        # The server's pings are comments. They keep a silent stream open for longer than the proxy waits.
        for _ in range(6):
            streams[0].comment()
        self.assertEqual(streams[0].post({"type": "ping"}), 204)
        streams[0].until("pong")
        self.assertEqual(streams[1].post(close=1000), 204)
        self.assertEqual(streams[1].closed()["code"], 1000)
        streams[0].until("player_left")
        self.assertTrue(all(node.metric("roomcast_event_streams") for node in self.nodes))
        large = streams[0].post({"type": "chat", "payload": "x" * 70_000})
        self.assertEqual(large, 413)

    async def test_a_clients_address_counts_and_not_the_proxys_nor_what_the_client_claims(self):
        self.start("limits.connections_per_address=1")
        # On each node one of each: where the proxy's first choice refuses a client, it tries the other one.
        addresses = [f"127.0.0.{number}" for number in range(2, 10)]
        for address in addresses * 2:
            await self.connect(address)
        self.assertEqual(await self.opened(lambda counts: sum(counts) >= 16), [8, 8])
        self.assertEqual(await self.refused(source="127.0.0.2"), 503)
        self.assertEqual(await self.refused(source="127.0.0.2", X_Forwarded_For="192.0.2.9"), 503)
        self.assertEqual(await self.refused(source="127.0.0.2", Forwarded="for=192.0.2.9"), 503)
        # That one is refused makes no node a dead one.
        for _ in self.nodes:
            await self.connect("127.0.0.10")
        self.assertEqual(await self.opened(lambda counts: sum(counts) >= 18), [9, 9])

    async def test_pings_keep_a_silent_connection_open_for_longer_than_the_proxy_waits(self):
        self.start("heartbeat.ping_interval=500ms", "heartbeat.pong_timeout=20s", changes=self.two_seconds)
        client = await self.connect()

        def pings():
            return sum(node.metric("roomcast_pings_total") for node in self.nodes)

        await asyncio.to_thread(support.until, lambda: pings() >= 6, "six pings, which take three seconds")
        await self.says(client, {"type": "ping"}, '"pong"')

    async def test_a_silent_connection_is_cut_by_the_proxy_without_pings(self):
        """So that the test above shows something."""
        self.start("heartbeat.ping_interval=1h", "heartbeat.pong_timeout=2h", changes=self.two_seconds)
        client = await self.connect()
        with self.assertRaises(ConnectionClosed):
            await asyncio.wait_for(client.recv(), DEADLINE)

    async def test_who_comes_while_a_node_drains_gets_to_the_other_one(self):
        self.start()
        first, second = self.nodes
        before = await self.connect()
        if await self.opened(lambda counts: sum(counts) > 0) == [0, 1]:
            first, second = second, first
        first.send(signal.SIGTERM)
        self.proxy.sees(first, up=False)
        for _ in range(10):
            client = await self.connect()
            await self.says(client, {"type": "ping"}, '"pong"')
            await client.close()
        # That of before is asked to come back, and gets to the other one too.
        self.assertEqual(await asyncio.to_thread(first.wait), 0)
        await asyncio.wait_for(before.wait_closed(), DEADLINE)
        self.assertEqual(before.close_code, 4000)
        await self.connect()

    async def test_who_comes_when_a_node_was_killed_gets_to_the_other_one(self):
        self.start()
        self.nodes[0].stop()
        for _ in range(10):
            await self.connect()
        self.assertEqual(await self.opened(lambda counts: sum(counts) >= 10), [10])

    async def test_a_rolling_restart_is_noticed_by_nobody(self):
        self.start(lease="1s")
        os.environ["SSL_CERT_FILE"] = f"{self.directory}/fullchain.pem"
        self.addCleanup(os.environ.pop, "SSL_CERT_FILE")
        url = f"wss://127.0.0.1:{self.proxy.port}/ws"
        statuses, heard, times = [], [], []
        done = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            people = []
            for name in ("ann", "bob", "cleo", "dan"):
                client = Client(url, token=support.token(self.directory, name), on_status=statuses.append)
                await stack.enter_async_context(client)
                room = client.room("chat:42")
                await asyncio.wait_for(room.join(nickname=name), DEADLINE)
                people.append(room)

            async def listen():
                async for event in people[0]:
                    match event:
                        case Message(type="chat"):
                            heard.append(event.payload)
                            times.append(time.monotonic())
                        case Message(type="player_left") | Gap() | Left():
                            heard.append(event)

            async def talk(room, name):
                said = []
                while not done.is_set():
                    said.append(f"{name} {len(said)}")
                    await room.chat(said[-1])
                return said

            listening = asyncio.create_task(listen())
            talking = [asyncio.create_task(talk(room, number)) for number, room in enumerate(people[1:])]
            for index in range(len(self.nodes)):
                node = self.nodes[index]
                code = await asyncio.to_thread(node.end)
                self.assertEqual(code, 0, node.log)
                self.nodes[index] = await asyncio.to_thread(node.again)
                await asyncio.to_thread(self.proxy.sees, self.nodes[index], up=True)
            before = len(heard)
            await asyncio.to_thread(support.until, lambda: len(heard) > before + 10, "what is said after it")
            done.set()
            said = await asyncio.wait_for(asyncio.gather(*talking), DEADLINE)
            wanted = sum(map(len, said))
            await asyncio.to_thread(support.until, lambda: len(heard) >= wanted, "all that was said")
            listening.cancel()
        self.assertCountEqual(heard, [line for lines in said for line in lines])
        for name, lines in enumerate(said):
            self.assertEqual([line for line in heard if line.startswith(f"{name} ")], lines)
        # Each was sent back once at least, and each time it was let in at once and had its session.
        came_back = [status for status in statuses if status.state == "connected"][4:]
        self.assertGreaterEqual(len(came_back), 4)
        self.assertTrue(all(status.resumed for status in came_back), statuses)
        refused = [s for s in statuses if s.error and s.error.code in ("handshake_refused", "unavailable")]
        self.assertEqual(refused, [], self.proxy.log)
        pause = max(after - before for before, after in zip(times, times[1:], strict=False))
        print(f"{wanted} messages, {len(came_back)} times back, longest pause {pause:.2f} s ... ", end="", flush=True)


class BehindNginx(Behind, unittest.IsolatedAsyncioTestCase):
    Proxy = Nginx
    two_seconds = ((r"_timeout 90s;", "_timeout 2s;"),)


class BehindHAProxy(Behind, unittest.IsolatedAsyncioTestCase):
    Proxy = HAProxy
    two_seconds = ((r"timeout (tunnel|client|server) 90s", r"timeout \1 2s"),)

    async def test_a_connection_without_the_header_is_refused(self):
        """From an address that is a proxy's: nobody else on the proxy's machine is taken for it."""
        self.start()
        answer = support.get(f"http://127.0.0.1:{self.nodes[0].port}/readyz")
        self.assertEqual(answer.status, 400)
        self.assertIn("PROXY protocol", answer.text)
