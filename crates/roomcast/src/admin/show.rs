//! Answers as tables. What clients have written is shown without control characters: a terminal would obey them.

use std::fmt::Write as _;

use serde_json::Value;

/// What is to be printed.
pub(super) struct Show {
    text: String,
    bold: bool,
}

impl Show {
    pub(super) fn new(terminal: bool) -> Show {
        Show {
            text: String::new(),
            bold: terminal,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Numbers are set to the right.
    fn table(&mut self, head: &[&str], rows: &[Vec<Value>]) {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(shown).collect())
            .collect();
        let width = |at: usize| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            let cells = cells.map(|cell| cell.chars().count());
            cells
                .chain([head.get(at).map_or(0, |it| it.len())])
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let is_number = |at: usize| {
            let mut cells = rows.iter().filter_map(|row| row.get(at));
            !rows.is_empty() && cells.all(|cell| cell.parse::<f64>().is_ok() || cell == "-")
        };
        let head: Vec<String> = head.iter().map(|it| (*it).to_owned()).collect();
        let mut put = |row: &[String], bold: bool| {
            let mut line = String::new();
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let space = " ".repeat(width.saturating_sub(cell.chars().count()));
                // Writing into a string does not fail.
                let _ = match is_number(at) {
                    true => write!(line, "{space}{cell}  "),
                    false => write!(line, "{cell}{space}  "),
                };
            }
            let line = line.trim_end();
            match bold {
                true => self.text.push_str(&format!("\x1b[1m{line}\x1b[0m\n")),
                false => self.text.push_str(&format!("{line}\n")),
            }
        };
        put(&head, self.bold);
        rows.iter().for_each(|row| put(row, false));
    }
}

/// One value as text.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => plain(text),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) => format!("{number:.1}"),
            None => number.to_string(),
        },
        other => plain(&other.to_string()),
    }
}

/// Without characters that a terminal obeys.
fn plain(text: &str) -> String {
    let is_odd = |c: char| {
        c.is_control()
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    text.chars()
        .map(|c| if is_odd(c) { '\u{fffd}' } else { c })
        .collect()
}

fn list<'a>(answer: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    answer[name].as_array().into_iter().flatten()
}

pub(super) fn nodes(show: &mut Show, answer: &Value) {
    let row = |node: &Value| {
        let counters = &node["counters"];
        vec![
            node["node"].clone(),
            node["state"].clone(),
            node["version"].clone(),
            counters["connections"].clone(),
            counters["rooms"].clone(),
            counters["messages_in"].clone(),
            counters["messages_out"].clone(),
            counters["lagging"].clone(),
            if node["answers"] == true {
                "answers".into()
            } else {
                "".into()
            },
        ]
    };
    let rows: Vec<_> = list(answer, "nodes").map(row).collect();
    show.table(
        &[
            "NODE",
            "STATE",
            "VERSION",
            "CONNECTIONS",
            "ROOMS",
            "IN",
            "OUT",
            "LAGGING",
            "",
        ],
        &rows,
    );
}

pub(super) fn rooms(show: &mut Show, answer: &Value) {
    const COLUMNS: [(&str, &str); 5] = [
        ("MEMBERS", "members"),
        ("MESSAGES/S", "messages_per_second"),
        ("CONNECTIONS", "connections"),
        ("LAGGING", "lagging"),
        ("PENDING", "pending_bytes"),
    ];
    let has = |name: &str| list(answer, "rooms").any(|room| !room[name].is_null());
    let columns: Vec<_> = COLUMNS.into_iter().filter(|(_, name)| has(name)).collect();
    let row = |room: &Value| {
        let numbers = columns.iter().map(|(_, name)| room[*name].clone());
        [room["room_id"].clone()]
            .into_iter()
            .chain(numbers)
            .collect()
    };
    let rows: Vec<Vec<Value>> = list(answer, "rooms").map(row).collect();
    if rows.is_empty() {
        return show.line("there is none");
    }
    let titles = columns.iter().map(|(title, _)| *title);
    let head: Vec<&str> = ["ROOM"].into_iter().chain(titles).collect();
    show.table(&head, &rows);
    if answer["next"].is_string() {
        show.line("there are more: name a --prefix");
    }
}

pub(super) fn room(show: &mut Show, answer: &Value) {
    let of = |number: &Value| {
        let lines = list(answer, "connections").filter(|it| it["player_num"] == *number);
        lines.max_by_key(|it| it["lagging"] == true)
    };
    let row = |member: &Value| {
        let line = of(&member["player_num"]);
        vec![
            member["player_num"].clone(),
            member["player_id"].clone(),
            member["nickname"].clone(),
            line.map_or("it has no connection here".into(), |it| it["why"].clone()),
        ]
    };
    let rows: Vec<_> = list(answer, "members").map(row).collect();
    if rows.is_empty() {
        return show.line("nobody is in this room");
    }
    show.table(&["NO", "USER", "NICKNAME", "HOW IT GOES"], &rows);
    let total = answer["total"].as_u64().unwrap_or(0);
    if total > rows.len() as u64 {
        show.line(&format!("{} of {total} members", rows.len()));
    }
}

pub(super) fn user(show: &mut Show, answer: &Value) {
    let of = |client: &Value| list(answer, "connections").find(|it| it["client_id"] == *client);
    let row = |session: &Value| {
        let line = of(&session["client_id"]);
        let rooms = list(session, "rooms").filter_map(Value::as_str);
        vec![
            session["client_id"].clone(),
            line.map_or(Value::Null, |it| it["node"].clone()),
            rooms.collect::<Vec<_>>().join(", ").into(),
            line.map_or(Value::Null, |it| it["why"].clone()),
        ]
    };
    let rows: Vec<_> = list(answer, "sessions").map(row).collect();
    if rows.is_empty() {
        return show.line("this user has no session");
    }
    show.table(&["CLIENT", "NODE", "ROOMS", "HOW IT GOES"], &rows);
}

pub(super) fn kicked(show: &mut Show, answer: &Value) {
    show.line(&format!(
        "{} put out",
        count(&answer["sessions"], "session")
    ));
}

pub(super) fn disconnected(show: &mut Show, answer: &Value) {
    show.line(&format!("{} ended", count(&answer["sessions"], "session")));
}

pub(super) fn draining(show: &mut Show, answer: &Value) {
    let node = shown(&answer["node"]);
    let connections = count(&answer["connections"], "connection");
    show.line(&format!("{node} ends; it has {connections}"));
}

/// So many of something: "1 session", "2 sessions".
fn count(number: &Value, one: &str) -> String {
    let s = if *number == 1 { "" } else { "s" };
    format!("{} {one}{s}", shown(number))
}

/// A message of a tail, in a line.
pub(super) fn message(data: &str) -> String {
    let told: Value = serde_json::from_str(data).unwrap_or_default();
    let Some(kind) = told["type"].as_str() else {
        return format!("{}\n", plain(data));
    };
    let text = |name: &str| told[name].as_str().unwrap_or_default();
    let from = ["from_service", "from_user_id", "from_client_id"];
    let from = from.map(text).into_iter().find(|it| !it.is_empty());
    let words = [kind, text("name"), from.unwrap_or_default()];
    let words: Vec<_> = words
        .into_iter()
        .filter(|it| !it.is_empty())
        .map(plain)
        .collect();
    let payload = match &told["payload"] {
        Value::Null => String::new(),
        payload => format!(" {}", plain(&payload.to_string())),
    };
    format!("{}{payload}\n", words.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_columns_and_no_control_characters() {
        let mut show = Show::new(false);
        let rows = json!({ "rooms": [
            { "room_id": "chat:1", "members": 12 },
            { "room_id": "a\u{1b}[2J", "members": 3 },
        ] });
        super::rooms(&mut show, &rows);
        assert_eq!(
            show.into_text(),
            "ROOM    MEMBERS\nchat:1       12\na\u{fffd}[2J         3\n"
        );
        let line =
            message(r#"{"type":"event","name":"x","from_client_id":"c","payload":"\u001b"}"#);
        assert_eq!(line, "event x c \"\\u001b\"\n");
        assert_eq!(message("no json\u{7}"), "no json\u{fffd}\n");
    }
}
