// Tic-tac-toe: the rules are the server's (main.rs). The page sends `place` and `again`, and draws each `board`.

import { Roomcast } from "/roomcast.js";

const room = new URLSearchParams(location.search).get("room") ?? `tictactoe:${Math.random().toString(36).slice(2, 7)}`;
const link = `${location.origin}${location.pathname}?room=${room}`;
history.replaceState(null, "", link);

const part = (id) => document.getElementById(id);
const cells = Array.from({ length: 9 }, (_, cell) => {
  const button = document.createElement("button");
  button.type = "button";
  button.addEventListener("click", () => client.action(room, "place", { cell }));
  part("board").append(button);
  return button;
});

const client = new Roomcast();
let mine = 0; // our number in the room
let board = null; // the last that the server sent
const here = new Set();

client.on("joined", ({ payload }) => {
  mine = payload.player_num;
  here.clear();
  for (const member of payload.members ?? []) here.add(member.player_id);
  show();
});
client.on("player_joined", ({ payload }) => {
  here.add(payload.player_id);
  show();
});
client.on("player_left", ({ payload }) => {
  here.delete(payload.player_id);
  show();
});
client.on("event", ({ name, payload }) => {
  if (name !== "board") return;
  board = payload;
  part("refused").textContent = "";
  show();
});
client.on("error", ({ payload }) => (part("refused").textContent = payload.message));
client.on("status", ({ state }) => {
  if (state === "open") return;
  board = null;
  show();
  part("state").textContent = state === "closed" ? "The server closed the connection." : "Connecting…";
});

part("again").addEventListener("click", () => client.action(room, "again"));
part("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(link);
    part("copy").textContent = "Copied";
  } catch {
    part("copy").textContent = link;
  }
});
part("room").textContent = room;
client.join(room, { nickname: "" });
client.connect();

function show() {
  part("here").textContent = here.size;
  const side = board?.x === mine ? "X" : board?.o === mine ? "O" : "";
  const myTurn = Boolean(board && side && board.turn === side && !board.winner);
  cells.forEach((button, cell) => {
    const mark = board?.cells[cell] ?? "";
    button.textContent = mark;
    button.dataset.mark = mark;
    button.setAttribute("aria-label", `Row ${Math.floor(cell / 3) + 1}, column ${(cell % 3) + 1}: ${mark || "empty"}`);
    button.dataset.open = myTurn && mark === ""; // only a look: a wrong move is for the server to refuse
  });
  part("again").hidden = !board?.winner || !side;
  if (board) part("state").textContent = sentence(side, myTurn);
}

function sentence(side, myTurn) {
  const { winner, turn, x, o } = board;
  if (winner === "draw") return "A draw.";
  if (winner) return !side ? `${winner} has won.` : winner === side ? "You have won." : "You have lost.";
  if (!x || !o) return side ? `You are ${side}. Waiting for the other player.` : "Waiting for players.";
  if (!side) return `You are watching. It is ${turn}’s turn.`;
  return myTurn ? `Your turn: you are ${side}.` : `You are ${side}. It is ${turn}’s turn.`;
}
