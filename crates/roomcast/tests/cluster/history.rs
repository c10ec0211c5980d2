//! Pages of a room's history, read while things fail.

use std::collections::BTreeMap;
use std::time::Duration;

use roomcast_client::{Content, HistoryRequest, Room};
use tokio::sync::watch;

use crate::fleet::{Phase, Witness};
use crate::found::{Found, Rule};

/// From one reading to the next.
const EVERY: Duration = Duration::from_millis(200);
/// Events of a page.
const PAGE: u32 = 10;
/// Events that one reads, in several pages.
const EVENTS: usize = 30;
/// Events of a room that its log surely keeps.
const KEPT: usize = 500;

/// What was read, one page after the other.
pub struct Page {
    /// Events after this one were asked for; `None`: from the newest on backward.
    after: Option<u64>,
    /// All chats of it.
    chats: Vec<(u64, String)>,
    /// The last event that came, of whatever kind.
    last: Option<u64>,
    /// Why it ended, and not because it had all.
    error: Option<String>,
    /// It is to have all.
    all: bool,
}

impl Page {
    async fn read(room: &Room, after: Option<u64>, most: usize) -> Page {
        let request = HistoryRequest {
            before: 0,
            after,
            limit: PAGE,
        };
        let mut history = room.history(request);
        let mut page = Page {
            after,
            chats: Vec::new(),
            last: None,
            error: None,
            all: false,
        };
        for _ in 0..most {
            match history.next().await {
                Ok(Some(message)) => {
                    let offset = message.position.map_or(0, |it| it.offset);
                    page.last = Some(offset);
                    if let Content::Chat(payload) = &message.content {
                        let text = payload.as_text().unwrap_or_default();
                        page.chats.push((offset, text.to_owned()));
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    page.error = Some(error.code().to_owned());
                    break;
                }
            }
        }
        page
    }

    /// All that the room has, in the end.
    pub async fn all(room: &Room) -> Page {
        let page = Page::read(room, Some(0), usize::MAX).await;
        Page { all: true, ..page }
    }
}

/// Reads on both ways while the others talk.
pub async fn read(room: &Room, mut phase: watch::Receiver<Phase>) -> Vec<Page> {
    let mut pages = Vec::new();
    loop {
        let now = room.position().map_or(0, |it| it.offset);
        let after = (pages.len() % 2 == 0).then_some(now.saturating_sub(EVENTS as u64));
        // Whoever stops has waited long enough.
        tokio::select! {
            page = Page::read(room, after, EVENTS) => pages.push(page),
            _ = phase.wait_for(|phase| matches!(phase, Phase::Stop)) => return pages,
        }
        let ends = phase.wait_for(|phase| !matches!(phase, Phase::Talk));
        if tokio::time::timeout(EVERY, ends).await.is_ok() {
            return pages;
        }
    }
}

/// Compares what one has read with what all members have heard.
pub fn check(room: usize, members: &[&Witness], found: &Found) {
    let heard: BTreeMap<u64, &str> = (members.iter())
        .flat_map(|member| &member.told.heard)
        .map(|heard| (heard.offset, heard.text.as_str()))
        .collect();
    let broken = |what: String| found.broken(Rule::History, format!("hall:{room}: {what}"));
    for page in members.iter().flat_map(|member| &member.pages) {
        let rises = page.after.is_some();
        let in_order =
            |pair: &[(u64, String)]| (pair[0].0 < pair[1].0) == rises && pair[0].0 != pair[1].0;
        if !page.chats.windows(2).all(in_order) {
            broken(format!("out of order: {:?}", page.chats));
        }
        for (offset, text) in &page.chats {
            if heard.get(offset) != Some(&text.as_str()) {
                let heard = heard.get(offset);
                broken(format!("{text:?} at {offset}, where {heard:?} was heard"));
            }
        }
        let ends = page.chats.iter().map(|(offset, _)| *offset);
        let (Some(first), Some(last)) = (ends.clone().min(), ends.max()) else {
            continue;
        };
        let from = match page.after {
            // The log may have begun since.
            Some(0) | None => first,
            Some(after) => after + 1,
        };
        let to = page.last.map_or(last, |end| end.max(last));
        let missing = heard
            .range(from..=to)
            .filter(|(offset, _)| !page.chats.iter().any(|it| it.0 == **offset));
        let missing: Vec<_> = missing.collect();
        if !missing.is_empty() {
            broken(format!("{from} to {to} lacks {missing:?}"));
        }
        let whole = page.chats.len() >= heard.len().min(KEPT) && page.error.is_none();
        if page.all && !whole {
            let (has, of) = (page.chats.len(), heard.len());
            broken(format!("has {has} of {of} in the end: {:?}", page.error));
        }
    }
    let errors = members
        .iter()
        .flat_map(|it| &it.pages)
        .filter_map(|it| it.error.as_deref());
    for error in errors {
        // Redis has not confirmed what came before, or the room has another log now, or nobody was there to answer.
        if !matches!(error, "unavailable" | "gap" | "unanswered") {
            broken(format!("was refused: {error}"));
        }
    }
}
