import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { Client } from "roomcast";
import { useMembers, useRoom, useRoomEvent, useStatus } from "roomcast/react";

type App = { chat: { events: { message: { text: string } } } };

const server = new URLSearchParams(location.search).get("server");
const client = new Client<App>(`ws://${server}/ws`);

function Chat() {
  const room = useRoom(client, "chat:vite");
  const [lines, setLines] = useState<string[]>([]);
  useRoomEvent(room, "message", ({ text }) => setLines((lines) => [...lines, text]));
  const here = useMembers(room, (members) => members.length);
  return (
    <>
      <p id="status">{useStatus(room)}</p>
      <p id="here">{here}</p>
      <ul>{lines.map((line, index) => <li key={index}>{line}</li>)}</ul>
      <button type="button" onClick={() => void room.send("message", { text: "hello" })}>Say hello</button>
    </>
  );
}

const root = document.getElementById("root");
if (root) createRoot(root).render(<StrictMode><Chat /></StrictMode>);
