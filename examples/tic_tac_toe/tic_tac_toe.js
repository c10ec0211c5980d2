// Tic-tac-toe: the rules are the server's (main.rs). The page sends `place` and `again`, and draws each `board`.

import { Client } from "/sdk/roomcast.js";
import { keepOverReload } from "/sdk/reload.js";

const name = new URLSearchParams(location.search).get("room") ?? `tictactoe:${Math.random().toString(36).slice(2, 7)}`;
const link = `${location.origin}${location.pathname}?room=${encodeURIComponent(name).replaceAll("%3A", ":")}`;
history.replaceState(null, "", link);

const part = (id) => document.getElementById(id);
const cells = Array.from({ length: 9 }, (_, cell) => {
  const button = document.createElement("button");
  button.type = "button";
  button.addEventListener("click", () => room.action("place", { cell }));
  part("board").append(button);
  return button;
});

// A reload goes on with the session: the seat is kept.
const url = `ws${location.protocol.slice(4)}//${location.host}/ws`;
const client = keepOverReload(name, (saved) => new Client(url, { saved }));
const room = client.room(name);
let board = null; // the last that the server sent

room.subscribe("members", show);
room.on("board", (sent) => {
  board = sent;
  part("refused").textContent = "";
  show();
});
room.subscribe("error", (error) => (part("refused").textContent = error.message));
client.subscribe("status", ({ state }) => {
  show(); // what was on the board is still there: after a lost connection only what was missed comes
  if (state !== "connected") part("state").textContent = state === "closed" ? "The server closed the connection." : "Connecting…";
});

part("again").addEventListener("click", () => room.action("again"));
part("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(link);
    part("copy").textContent = "Copied";
  } catch {
    part("copy").textContent = link;
  }
});
part("room").textContent = name;
await room.join().catch((error) => (part("refused").textContent = `${error.message}.`));
if (!board) room.action("look");

function show() {
  const mine = room.self?.num ?? NaN;
  part("here").textContent = room.total;
  const side = board?.x === mine ? "X" : board?.o === mine ? "O" : "";
  const myTurn = Boolean(board && side && board.turn === side && !board.winner);
  cells.forEach((button, cell) => {
    const mark = board?.cells[cell] ?? "";
    button.textContent = mark;
    button.dataset.mark = mark;
    button.setAttribute("aria-label", `Row ${Math.floor(cell / 3) + 1}, column ${(cell % 3) + 1}: ${mark || "empty"}`);
    button.dataset.open = myTurn && mark === ""; // only a look: a wrong move is for the server to refuse
  });
  part("seats").replaceChildren(...["X", "O"].map((mark) => seat(mark, board?.[mark.toLowerCase()] ?? 0, mine)));
  part("again").hidden = !board?.winner || !side;
  if (board) part("state").textContent = sentence(side, myTurn);
}

/** Who has a seat. The board names players by their numbers; whether one is there, the list of members knows. */
function seat(mark, num, mine) {
  const line = document.createElement("li");
  const connected = room.members.find((member) => member.num === num)?.connected;
  line.dataset.mark = mark;
  line.dataset.turn = Boolean(board && !board.winner && board.x && board.o && board.turn === mark);
  line.append(Object.assign(document.createElement("b"), { textContent: mark }), num ? ` player ${num}${num === mine ? " (you)" : connected === false ? ", connection lost" : ""}` : " nobody yet");
  return line;
}

function sentence(side, myTurn) {
  const { winner, turn, x, o } = board;
  if (winner === "draw") return "A draw.";
  if (winner) return !side ? `${winner} has won.` : winner === side ? "You have won." : "You have lost.";
  if (!x || !o) return side ? `You are ${side}. Waiting for the other player.` : "Waiting for players.";
  if (!side) return `You are watching. It is ${turn}’s turn.`;
  return myTurn ? `Your turn: you are ${side}.` : `You are ${side}. It is ${turn}’s turn.`;
}
