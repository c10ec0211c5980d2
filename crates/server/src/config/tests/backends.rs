//! `[webhooks.NAME]` and `[authorize.NAME]`: what is read, and what is refused at start, with the key named.

use super::*;
use crate::config::{Asked, EventType, Silence};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn error_of(table: &str, text: &str) -> String {
    let text = text.replace("SECRET", &format!("secret = {SECRET:?}"));
    error_in(&format!("[{table}.shop]\n{text}"))
}

#[test]
fn a_webhook_and_a_backend_that_is_asked_are_read() {
    let text = format!(
        "[webhooks.shop]\nurl = \"https://shop.example/hooks\"\nsecret = {SECRET:?}\n\
         events = [\"room.opened\", \"message\"]\nkinds = \"chat\"\nsample = 0.5\nretry_for = \"1h\"\n\
         [authorize.shop]\nurl = \"http://127.0.0.1:1/\"\nsecret = {SECRET:?}\nkinds = [\"chat\"]\n\
         asks = [\"join\", \"game_action\"]\nsilence = \"allow\"\ntimeout = \"100ms\"\n"
    );
    let loaded = with_file(&text)
        .variable("ROOMCAST_WEBHOOKS_SHOP_QUEUE_EVENTS", "7")
        .load();
    let (webhook, asked) = (&loaded.config.webhooks[0], &loaded.config.authorize[0]);
    assert_eq!(webhook.events, [EventType::RoomOpened, EventType::Message]);
    assert_eq!((webhook.sample, webhook.queue_events), (0.5, 7));
    assert_eq!(webhook.retry_for.as_secs(), 3_600);
    assert_eq!(asked.asks, [Asked::Join, Asked::GameAction]);
    assert_eq!(
        (asked.silence, asked.timeout.as_millis()),
        (Silence::Allow, 100)
    );
    let report = loaded.report();
    assert!(report.contains("[webhooks.shop]") && report.contains("[authorize.shop]"));
    assert!(!report.contains("MfKQ9r"), "a secret is never shown");
}

#[test]
fn what_a_webhook_lacks_is_told_before_anything_is_opened() {
    for (text, says) in [
        (
            "SECRET\nevents = [\"message\"]",
            "webhooks.shop has no url: set it",
        ),
        (
            "url = \"http://a/\"\nSECRET",
            "webhooks.shop has no events: name what",
        ),
        (
            "url = \"http://a/\"\nevents = [\"message\"]",
            "webhooks.shop has no secret: set secret_path",
        ),
        (
            "url = \"http://a/\"\nsecret = \"short\"\nevents = [\"message\"]",
            "webhooks.shop.secret has a secret that is not whsec_",
        ),
        (
            "url = \"ftp://a/\"\nSECRET\nevents = [\"message\"]",
            "webhooks.shop.url = \"ftp://a/\" does not begin with https:// or http://",
        ),
        (
            "url = \"https://me:pass@a/\"\nSECRET\nevents = [\"message\"]",
            "webhooks.shop.url = \"https://…@a/\" has a user or a password in it",
        ),
        (
            "url = \"http://a/\"\nSECRET\nevents = [\"room.closed\"]",
            "webhooks.shop.events = [\"room.closed\"] has \"room.closed\" in it, which is none of them",
        ),
        (
            "url = \"http://a/\"\nSECRET\nevents = [\"message\"]\nsamples = 1.0",
            "unknown key webhooks.shop.samples; did you mean webhooks.shop.sample?",
        ),
        (
            "url = \"https://a/\"\nca_path = \"/nowhere\"\nSECRET\nevents = [\"message\"]",
            "webhooks.shop.ca_path = \"/nowhere\" cannot be read",
        ),
    ] {
        let errors = with_file(&format!(
            "[webhooks.shop]\n{}",
            text.replace("SECRET", &format!("secret = {SECRET:?}"))
        ))
        .errors();
        assert!(
            errors.iter().any(|it| it.contains(says)),
            "{text}: {errors:#?}"
        );
    }
}

#[test]
fn of_two_backends_one_decides_about_a_kind() {
    let table = format!("url = \"http://a/\"\nsecret = {SECRET:?}\nasks = [\"join\"]\n");
    let text = format!(
        "[authorize.a]\n{table}kinds = [\"x\", \"y\"]\n[authorize.b]\n{table}kinds = [\"y\"]\n"
    );
    let error = error_in(&text);
    assert!(
        error.contains("authorize.b.kinds has \"y\" in it, as authorize.a.kinds has"),
        "{error}"
    );
    let error = error_of(
        "authorize",
        "url = \"http://a/\"\nSECRET\nasks = [\"join\"]",
    );
    assert!(error.contains("authorize.shop has no kinds"), "{error}");
    let error = error_of("authorize", "url = \"http://a/\"\nSECRET\nkinds = [\"x\"]");
    assert!(error.contains("authorize.shop has no asks"), "{error}");
}

#[test]
fn messages_that_event_streams_cannot_bring_are_told_of() {
    let text = |sse: bool, size: &str| {
        format!(
            "[server]\nengine = \"redis\"\nsse = {sse}\n[redis]\nurls = \"redis://localhost\"\n\
             [session]\nsecret = \"a secret for tests, with enough bytes in it\"\n\
             [limits]\nmax_message = \"{size}\"\n[queues]\nevent_lane = \"32MiB\"\n\
             publish_window = \"32MiB\"\nlink_window = \"32MiB\"\n"
        )
    };
    let warnings = |sse: bool, size: &str| with_file(&text(sse, size)).load().warnings;
    let told = warnings(true, "4MiB");
    assert!(
        told[0].starts_with("limits.max_message (4MiB) is more"),
        "{told:?}"
    );
    assert!(warnings(true, "3MiB").is_empty());
    assert!(warnings(false, "4MiB").is_empty());
}

/// Else the promise of the grace is not kept, and nobody is told why.
#[test]
fn what_leaves_no_time_to_come_back_within_the_grace_is_told() {
    let text = |key: &str, of_redis: &str, grace: &str| {
        format!(
            "[server]\nengine = \"redis\"\n[session]\nsecret = \"a secret for tests, with enough bytes in it\"\n\
             grace = {grace}\n[redis]\nurls = \"redis://localhost\"\n{key} = {of_redis}\n"
        )
    };
    let lease = |lease: &str, grace: &str| text("lease", lease, grace);
    assert_eq!(
        error_in(&lease("\"10s\"", "\"10s\"")),
        "roomcast.toml:8: redis.lease (10s) is not shorter than session.grace (10s): rooms of a server that dies wait \
         for the lease, and none of its clients would come back within the grace; a tenth of the grace is usual"
    );
    let error = error_in(&lease("\"3s\"", "\"2s\""));
    assert!(error.contains("redis.lease (3s)"), "{error}");
    let warnings = |silent: &str, grace: &str| {
        let text = text("not_ready_after", silent, grace);
        with_file(&text).load().warnings
    };
    assert_eq!(
        warnings("\"21s\"", "\"30s\""),
        [
            "redis.not_ready_after (21s) is more than two thirds of session.grace (30s): clients of a server without \
          Redis are sent elsewhere too late to come back within the grace"
        ]
    );
    // Without a grace nobody comes back to anything.
    for (key, of_redis, grace) in [
        ("lease", "\"9999ms\"", "\"15s\""),
        ("lease", "\"10s\"", "0"),
        ("not_ready_after", "\"20s\"", "\"30s\""),
        ("not_ready_after", "\"1h\"", "0"),
    ] {
        let loaded = with_file(&text(key, of_redis, grace)).load();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }
}
