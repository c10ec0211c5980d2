/** The place of an event in the chat: offsets rise within an epoch. */
export interface Position {
  epoch: string;
  offset: number;
}

/** How far a user has read the chat: the place of a line, and its time. */
export type Read = Position & { at: number };

export interface Notification {
  id: string;
  text: string;
  at: number;
  seen?: boolean;
}

export interface Order {
  id: string;
  item: string;
  by: string;
  name: string;
  at: number;
  shippedAt: number | null;
}

/** Somebody who was in the lounge. */
export interface Visitor {
  id: string;
  name: string;
  leftAt: number;
}

/** What the backend says of the user who is logged in. */
export interface Me {
  user: { id: string; name: string; role: "customer" | "staff" };
  ban: { until: number; reason: string } | null;
  read: Read | null;
  /** Where Roomcast is. */
  roomcast: string;
  items: string[];
  orders: Order[];
  notifications: Notification[];
}

/** What is said over Roomcast, by the kind of room. */
export type App = {
  chat: {
    events: { message: { id: string; text: string } };
    presence: { typing?: boolean };
  };
  staff: { events: { order: Order } };
  $direct: { events: { notification: Notification; read: Read } };
};
