//! Which Redis it is: its run id and its replication id together.
//!
//! A process that is demoted and promoted again has lost writes and keeps its run id; its replication id is another
//! then. One that is started anew has another run id. INFO has both in one answer.

use roomcast_core::store::StoreId;
use sha1::{Digest as _, Sha1};

/// What INFO says, as far as it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) run_id: Option<String>,
    pub(crate) replication_id: Option<String>,
    /// `master` or `slave`.
    pub(crate) role: Option<String>,
    /// Of Redis, or the one that Valkey claims to be like.
    pub(crate) redis_version: Option<String>,
    pub(crate) valkey_version: Option<String>,
    pub(crate) loading: bool,
}

impl Info {
    pub(crate) fn read(text: &str) -> Self {
        let mut info = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let some = || Some(value.trim().to_owned());
            match name {
                "run_id" => info.run_id = some(),
                "master_replid" => info.replication_id = some(),
                "role" => info.role = some(),
                "redis_version" => info.redis_version = some(),
                "valkey_version" => info.valkey_version = some(),
                "loading" => info.loading = value.trim() == "1",
                _ => {}
            }
        }
        info
    }

    /// The name of this Redis; `None`: a proxy hides it, so that another one could not be told from it.
    pub(crate) fn store(&self) -> Option<StoreId> {
        let (run, replication) = (self.run_id.as_ref()?, self.replication_id.as_ref()?);
        if !is_id(run) || !is_id(replication) {
            return None;
        }
        let hash = Sha1::digest(format!("{run}:{replication}"));
        let bytes = hash.first_chunk::<16>()?;
        Some(StoreId(u128::from_be_bytes(*bytes)))
    }

    pub(crate) fn is_master(&self) -> bool {
        self.role.as_deref() == Some("master")
    }
}

/// 40 hexadecimal digits, not all of them zero.
fn is_id(text: &str) -> bool {
    text.len() == 40
        && text.bytes().all(|digit| digit.is_ascii_hexdigit())
        && text.bytes().any(|digit| digit != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(run: &str, replication: &str) -> Info {
        Info::read(&format!(
            "# Server\r\nredis_version:7.0.15\r\nrun_id:{run}\r\n\r\n# Replication\r\nrole:master\r\n\
             master_replid:{replication}\r\nloading:0\r\n"
        ))
    }

    #[test]
    fn both_ids_make_the_name() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let store = info(&a, &b).store();
        assert!(store.is_some() && info(&a, &b).is_master());
        assert_eq!(store, info(&a, &b).store());
        assert_ne!(store, info(&a, &a).store());
        assert_ne!(store, info(&b, &b).store());
        assert_ne!(store, info(&b, &a).store());
    }

    #[test]
    fn what_hides_an_id_has_no_name() {
        let a = "a".repeat(40);
        assert_eq!(info(&a, "").store(), None);
        assert_eq!(info(&"0".repeat(40), &a).store(), None);
        assert_eq!(info("redis-proxy", &a).store(), None);
        assert_eq!(Info::read("").store(), None);
    }
}
