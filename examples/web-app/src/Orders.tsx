import { type FormEvent, useEffect, useState } from "react";
import type { Client } from "roomcast";
import { useRoom, useRoomEvent, useRoomSignal } from "roomcast/react";
import { ask } from "./api.js";
import type { App, Me, Notification, Order } from "./types.js";

/** A customer's orders. */
export function Orders({ me, notifications }: { me: Me; notifications: Notification[] }) {
  const [orders, setOrders] = useState(me.orders);
  const [problem, setProblem] = useState("");
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    try {
      const order = await ask<Order>("POST", "/api/orders", Object.fromEntries(new FormData(event.currentTarget)));
      setOrders((orders) => [order, ...orders]);
      setProblem("");
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  const isShipped = ({ id, shippedAt }: Order) => shippedAt !== null || notifications.some((notification) => notification.id === `order-${id}-shipped`);
  return (
    <section className="orders" aria-labelledby="orders">
      <h2 id="orders">Your orders</h2>
      <form onSubmit={submit} className="row">
        <select name="item" aria-label="What to order">{me.items.map((item) => <option key={item}>{item}</option>)}</select>
        <button>Order</button>
      </form>
      <p className="problem" role="alert">{problem}</p>
      <ul>
        {orders.map((order) => (
          <li key={order.id}><span className="grow">{order.item}</span><small>{isShipped(order) ? "On its way" : "Ordered"}</small></li>
        ))}
      </ul>
    </section>
  );
}

/** The orders that staff has to send off. They come by a room that only the tokens of staff allow. */
export function StaffOrders({ client, first }: { client: Client<App>; first: Order[] }) {
  const [orders, setOrders] = useState(first);
  const [problem, setProblem] = useState("");
  const room = useRoom(client, "staff:orders", { onError: ({ message }) => setProblem(message) });
  useRoomEvent(room, "order", (order) => setOrders((orders) => [order, ...orders.filter(({ id }) => id !== order.id)].sort((one, other) => other.at - one.at)));
  const load = () => void ask<Me>("GET", "/api/me").then(({ orders }) => setOrders(orders), () => {});
  useRoomSignal(room, "gap", load);
  useEffect(() => load(), []);

  const ship = (id: string) => ask("POST", `/api/orders/${id}/ship`).then(() => setProblem(""), ({ message }) => setProblem(message));
  return (
    <section className="orders" aria-labelledby="orders">
      <h2 id="orders">Orders</h2>
      <p className="problem" role="alert">{problem}</p>
      {orders.length === 0 && <p className="remark">Nobody has ordered yet.</p>}
      <ul>
        {orders.map(({ id, item, name, shippedAt }) => (
          <li key={id}>
            <span className="grow">{item}<small>for {name}</small></span>
            {shippedAt ? <small>Sent</small> : <button onClick={() => void ship(id)} aria-label={`Ship ${item} to ${name}`}>Ship</button>}
          </li>
        ))}
      </ul>
    </section>
  );
}
