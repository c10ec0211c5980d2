// The client of npm `ws` against the example `echo`: node ws_client.js HOST:PORT
import { once } from 'node:events';
import http from 'node:http';
import WebSocket from 'ws';

const address = process.argv[2];
const DEADLINE = 60_000;
let checks = 0;
let failures = 0;

function check(name, good, detail = '') {
  checks += 1;
  if (!good) {
    failures += 1;
    console.error(`ws: FAILED: ${name} ${detail}`);
  }
}

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${DEADLINE} ms`)), DEADLINE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Reproducible noise, and text that compresses.
function noise(size) {
  const bytes = Buffer.alloc(size);
  let state = 12345;
  for (let at = 0; at < size; at += 1) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[at] = state >>> 16;
  }
  return bytes;
}

function text(size) {
  let line = '';
  for (let n = 0; line.length < Math.min(size, 4000); n += 1) line += `${n}: Grüße, 世界 😀 `;
  return line.repeat(Math.ceil(size / line.length)).slice(0, size).replace(/[\ud800-\udbff]$/, '.');
}

async function open(options) {
  const socket = new WebSocket(`ws://${address}/`, { maxPayload: 64 << 20, ...options });
  await within(once(socket, 'open'), 'open');
  return socket;
}

async function echo(socket, message, send) {
  const answer = within(once(socket, 'message'), 'message');
  if (send) send();
  else socket.send(message);
  const [data, isBinary] = await answer;
  const binary = Buffer.isBuffer(message);
  return isBinary === binary && data.equals(binary ? message : Buffer.from(message));
}

async function conversation(name, options, expected) {
  const socket = await open(options);
  check(`${name}: negotiated`, socket.extensions === (expected ? 'permessage-deflate' : ''), socket.extensions);
  for (const [param, value] of Object.entries(expected ?? {})) {
    const params = socket._extensions['permessage-deflate'].params;
    check(`${name}: ${param}`, params[param] === value, JSON.stringify(params));
  }
  for (const size of [0, 1, 125, 126, 1000, 65535, 65536, 200_000, 1 << 20]) {
    check(`${name}: ${size} bytes of noise`, await echo(socket, noise(size)));
    check(`${name}: ${size} characters of text`, await echo(socket, text(size)));
    check(`${name}: the same again`, await echo(socket, text(size)));
  }
  const message = text(50_000);
  const bytes = Buffer.from(message);
  const pongs = [];
  socket.on('pong', (payload) => pongs.push(payload.toString()));
  check(`${name}: fragments`, await echo(socket, message, () => {
    for (let at = 0; at < bytes.length; at += 997) {
      const fin = at + 997 >= bytes.length;
      // Bytes, so that characters are cut.
      socket.send(bytes.subarray(at, at + 997), { fin, binary: false });
      if (at % 9970 === 0) socket.ping(`at ${at}`);
    }
  }));
  socket.ping('payload of the ping');
  check(`${name}: the end`, await echo(socket, 'the end'));
  const expectedPongs = [];
  for (let at = 0; at < bytes.length; at += 9970) expectedPongs.push(`at ${at}`);
  expectedPongs.push('payload of the ping');
  check(`${name}: pongs`, pongs.join() === expectedPongs.join(), pongs.join());
  const closed = within(once(socket, 'close'), 'close');
  socket.close(4321, 'done');
  const [code] = await closed;
  check(`${name}: close`, code === 4321, code);
}

async function refusedWith(name, code, send, options = { perMessageDeflate: false }) {
  const socket = await open(options);
  socket.on('error', () => {});
  const closed = within(once(socket, 'close'), 'close');
  send(socket);
  const [got] = await closed;
  check(name, got === code, `${got}, not ${code}`);
}

function status(name, expected, method, headers) {
  return within(new Promise((resolve) => {
    const [host, port] = address.split(':');
    const request = http.request({ host, port, method, headers });
    request.on('response', (response) => {
      check(name, response.statusCode === expected, response.statusCode);
      response.resume();
      resolve(response.headers);
    });
    request.on('upgrade', (_, socket) => {
      check(name, expected === 101, 101);
      socket.destroy();
      resolve({});
    });
    request.on('error', (error) => {
      check(name, false, error.message);
      resolve({});
    });
    request.end();
  }), name);
}

await conversation('plain', { perMessageDeflate: false }, null);
await conversation('deflate', { perMessageDeflate: { threshold: 0 } }, {
  server_no_context_takeover: undefined,
  client_no_context_takeover: undefined,
});
for (const serverNoContextTakeover of [false, true]) {
  for (const clientNoContextTakeover of [false, true]) {
    for (const bits of [9, 12, 15]) {
      const name = `deflate ${serverNoContextTakeover} ${clientNoContextTakeover} ${bits}`;
      const options = {
        threshold: 0,
        serverNoContextTakeover,
        clientNoContextTakeover,
        serverMaxWindowBits: bits,
        clientMaxWindowBits: bits,
      };
      await conversation(name, { perMessageDeflate: options }, {
        server_no_context_takeover: serverNoContextTakeover || undefined,
        client_no_context_takeover: clientNoContextTakeover || undefined,
        server_max_window_bits: bits,
        client_max_window_bits: bits,
      });
    }
  }
}
for (let bits = 9; bits <= 15; bits += 1) {
  const options = { threshold: 0, serverMaxWindowBits: bits, clientMaxWindowBits: true };
  await conversation(`server window ${bits}`, { perMessageDeflate: options }, { server_max_window_bits: bits });
}

for (const perMessageDeflate of [false, { threshold: 0 }]) {
  const socket = await open({ perMessageDeflate });
  check('16 MiB of noise', await echo(socket, noise(16 << 20)));
  check('16 MiB of text', await echo(socket, Buffer.from('ab'.repeat(8 << 20)).toString()));
  socket.close();
  await within(once(socket, 'close'), 'close');
}
for (const perMessageDeflate of [false, { threshold: 0 }]) {
  await refusedWith('more than 16 MiB', 1009, (socket) => socket.send(Buffer.alloc((16 << 20) + 1)), {
    perMessageDeflate,
  });
}
await refusedWith('text that is not UTF-8', 1007, (socket) => socket.send(Buffer.from([0xff]), { binary: false }));
await refusedWith('a frame without a mask', 1002, (socket) => socket.send('hello', { mask: false }));
await refusedWith('a stray continuation', 1002, (socket) => socket._socket.write(Buffer.from('8080000000', 'hex')));
await refusedWith('a close frame without a code', 1005, (socket) => socket.close());

// Many at once.
const sockets = await Promise.all(Array.from({ length: 200 }, () => open({ perMessageDeflate: { threshold: 0 } })));
const answers = await Promise.all(sockets.map((socket, n) => echo(socket, text(1000 + n))));
check('200 connections at once', answers.every(Boolean));
for (const socket of sockets) socket.terminate();

const good = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};
await status('a handshake by hand', 101, 'GET', good);
check('a page is told to upgrade', (await status('GET', 426, 'GET', {})).upgrade === 'websocket');
check('POST is told what is allowed', (await status('POST', 405, 'POST', good)).allow === 'GET');
const version = await status('version 8', 426, 'GET', { ...good, 'Sec-WebSocket-Version': '8' });
check('the version is told', version['sec-websocket-version'] === '13');
await status('a short key', 400, 'GET', { ...good, 'Sec-WebSocket-Key': 'AAAA' });
await status('malformed extensions', 400, 'GET', { ...good, 'Sec-WebSocket-Extensions': 'a b' });

console.log(`ws: ${checks} checks, ${failures} failed`);
process.exit(failures === 0 ? 0 : 1);
