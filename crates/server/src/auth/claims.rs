//! What a token says, and who its client is by that.

use roomcast_core::{Grant, Identity, Rights, Rooms};
use roomcast_protocol::{Limits, names};
use serde::Deserialize;

use super::fault;
use super::settings::AuthSettings;

/// Rooms and patterns in one token: each is looked at when a client joins.
const MOST_GRANTS: usize = 64;

/// The claims that are looked at. A token may have others.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: Option<String>,
    name: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<OneOrMany>,
    room: Option<String>,
    permissions: Option<Vec<Permission>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Unknown keys are refused: one that was misspelt could have been meant to take something away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Permission {
    rooms: Vec<String>,
    allow: Vec<String>,
}

impl Claims {
    /// Checks them at this time, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// A sentence of [`fault`].
    pub(super) fn identity(
        self,
        unix_ms: i64,
        settings: &AuthSettings,
        limits: &Limits,
    ) -> Result<Identity, &'static str> {
        let expires_at = self.check_times(unix_ms, settings)?;
        self.check_audience(settings)?;
        let grants = self.grants(limits)?;
        let direct = self.direct();
        let user_id = self.sub.unwrap_or_default();
        if !user_id.is_empty() {
            names::validate_id(&user_id, limits).map_err(|_| fault::USER)?;
        }
        let name = self.name.unwrap_or_default();
        if !name.is_empty() {
            names::validate_nickname(&name, limits).map_err(|_| fault::NAME)?;
        }
        Ok(Identity {
            user_id: user_id.into(),
            name: name.into(),
            grants,
            direct,
            expires_at,
        })
    }

    /// When the token ends: its `exp` and the leeway, within which it would still be taken; 0 for never.
    fn check_times(&self, unix_ms: i64, settings: &AuthSettings) -> Result<i64, &'static str> {
        let leeway = i64::try_from(settings.leeway.as_millis()).unwrap_or(i64::MAX);
        // A cast of a float goes to the nearest number that there is.
        let millis = |seconds: f64| (seconds * 1_000.0) as i64;
        if self
            .nbf
            .is_some_and(|nbf| unix_ms < millis(nbf).saturating_sub(leeway))
        {
            return Err(fault::NOT_YET);
        }
        match self.exp {
            None if settings.require_exp => Err(fault::NO_EXPIRY),
            None => Ok(0),
            Some(exp) => {
                let end = millis(exp).saturating_add(leeway);
                // 0 would mean never.
                if unix_ms >= end || end <= 0 {
                    return Err(fault::EXPIRED);
                }
                Ok(end)
            }
        }
    }

    /// RFC 7519 section 4.1.3: a token that names audiences is for these alone, so one for others is refused also where
    /// none is configured.
    fn check_audience(&self, settings: &AuthSettings) -> Result<(), &'static str> {
        let ours = |audience: &String| settings.audience.contains(audience);
        let good = match &self.aud {
            None => settings.audience.is_empty(),
            Some(OneOrMany::One(audience)) => ours(audience),
            Some(OneOrMany::Many(audiences)) => audiences.iter().any(ours),
        };
        if !good {
            return Err(fault::AUDIENCE);
        }
        let issuer = |issuer: &String| settings.issuer.contains(issuer);
        if !settings.issuer.is_empty() && !self.iss.as_ref().is_some_and(issuer) {
            return Err(fault::ISSUER);
        }
        Ok(())
    }

    /// Whether direct messages are allowed: they are where everything is, and where an `allow` lists them, whatever
    /// its rooms.
    fn direct(&self) -> bool {
        let listed = |permission: &Permission| permission.allow.iter().any(|it| it == DIRECT);
        match &self.permissions {
            Some(permissions) => permissions.iter().any(listed),
            None => self.room.is_none(),
        }
    }

    /// Without a word about rooms everything is allowed everywhere.
    fn grants(&self, limits: &Limits) -> Result<Vec<Grant>, &'static str> {
        let mut grants = Vec::new();
        if self.room.is_none() && self.permissions.is_none() {
            grants.push(Grant {
                rooms: Rooms::All,
                rights: Rights::ALL,
            });
        }
        if let Some(room) = &self.room {
            grants.push(Grant {
                rooms: exact(room, limits)?,
                rights: Rights::ALL,
            });
        }
        for permission in self.permissions.iter().flatten() {
            let mut rights = Rights::NONE;
            for right in permission.allow.iter().filter(|right| *right != DIRECT) {
                rights = rights.union(right_of(right).ok_or(fault::RIGHT)?);
            }
            for rooms in &permission.rooms {
                if grants.len() >= MOST_GRANTS {
                    return Err(fault::TOO_MANY_GRANTS);
                }
                let rooms = pattern(rooms, limits)?;
                grants.push(Grant { rooms, rights });
            }
        }
        Ok(grants)
    }
}

/// What an `allow` lists to let direct messages be sent. Those are of no room.
pub(super) const DIRECT: &str = "direct";

/// What else a token's `allow` may list: what is allowed in its rooms.
pub(super) const RIGHTS: [(&str, Rights); 4] = [
    ("join", Rights::JOIN),
    ("publish", Rights::PUBLISH),
    ("presence", Rights::PRESENCE),
    ("history", Rights::HISTORY),
];

fn right_of(name: &str) -> Option<Rights> {
    let known = RIGHTS.iter().find(|(known, _)| *known == name);
    known.map(|(_, right)| *right)
}

/// `*`, `kind:*` or a name.
fn pattern(text: &str, limits: &Limits) -> Result<Rooms, &'static str> {
    if text == "*" {
        return Ok(Rooms::All);
    }
    match text.strip_suffix(":*") {
        Some(kind) if !kind.contains([':', '*']) => {
            names::validate_room(kind, limits).map_err(|_| fault::ROOM)?;
            Ok(Rooms::Kind(kind.into()))
        }
        _ => exact(text, limits),
    }
}

/// A name. One with a `*` was meant to be a pattern, and there are no others.
fn exact(name: &str, limits: &Limits) -> Result<Rooms, &'static str> {
    if name.contains('*') || names::validate_room(name, limits).is_err() {
        return Err(fault::ROOM);
    }
    Ok(Rooms::Room(name.into()))
}

/// Whether a token may say that about rooms.
pub(super) fn is_pattern(text: &str) -> bool {
    pattern(text, &Limits::default()).is_ok()
}
