//! What single values cannot tell: settings that contradict each other, and addresses that are not safe.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::listeners::is_loopback;
use super::load::Loaded;
use super::source::{Problem, Source};
use super::units::Unit;
use super::{AllowedOrigin, Anonymous, Config, Engine, ProxyProtocol};

/// Checks a configuration as a whole.
pub(super) fn check(loaded: &mut Loaded, problems: &mut Vec<Problem>) {
    let mut found = Found {
        sources: &loaded.sources,
        problems,
    };
    addresses(&loaded.config, &mut found);
    auth(&loaded.config, &mut found);
    tls(&loaded.config, &mut found);
    api(&loaded.config, &mut found);
    webhooks(&loaded.config, &mut found);
    timings(&loaded.config, &mut found);
    queues(&loaded.config, &mut found);
    proxies(&loaded.config, &mut found);
    redis(&loaded.config, &mut found);
    memory(&loaded.config, &mut found);
    static_dir(&loaded.config, &mut found);
    tracing(&loaded.config, &mut found);
    warn(&loaded.config, &mut loaded.warnings);
}

struct Found<'a> {
    sources: &'a BTreeMap<String, Source>,
    problems: &'a mut Vec<Problem>,
}

impl Found<'_> {
    /// Something is wrong with these keys; the first one that somebody set is where to look.
    fn push(&mut self, keys: &[&str], message: String) {
        let source = keys.iter().find_map(|key| self.sources.get(*key)).cloned();
        self.problems.push(Problem {
            source: source.unwrap_or(Source::Default),
            message,
        });
    }
}

fn addresses(config: &Config, found: &mut Found<'_>) {
    if config.server.listen.is_empty() {
        let message = "server.listen = [] is empty: it takes at least one address, such as \"127.0.0.1:8080\"";
        found.push(&["server.listen"], message.to_owned());
    }
    let main = config
        .server
        .listen
        .iter()
        .map(|address| ("server.listen", address));
    let admin = config
        .admin
        .listen
        .iter()
        .map(|address| ("admin.listen", address));
    let mut seen: Vec<SocketAddr> = Vec::new();
    for (key, &address) in main.chain(admin) {
        // Keys ask everybody who they are, and whoever says `anonymous` has thought of it.
        let said = config.server.public_demo
            || config.auth.has_keys()
            || config.auth.anonymous == Some(true);
        if !said && !is_loopback(address.ip()) {
            let message = format!(
                "{key} has \"{address}\" in it, which other machines can reach, and nothing asks clients who they \
                 are: set auth.hs256_secret, auth.public_key_paths or auth.jwks_path to ask them for tokens, give \
                 --public-demo (server.public_demo = true) to let everybody in, or listen on \"127.0.0.1:{}\"",
                address.port()
            );
            found.push(&[key], message);
        }
        if address.port() != 0 && seen.contains(&address) {
            found.push(
                &[key],
                format!("{key} has \"{address}\" in it, which is there twice"),
            );
        }
        seen.push(address);
    }
}

/// Keys are read here too, so that a wrong one is told before anything is opened.
fn auth(config: &Config, found: &mut Found<'_>) {
    if let Some(problem) = crate::auth::problems(&config.auth) {
        found.push(&[problem.setting], problem.to_string());
    }
    if config.auth.anonymous == Some(false) && !config.auth.has_keys() {
        let message = "auth.anonymous = false lets nobody in while no key is configured: set auth.hs256_secret, \
                       auth.public_key_paths or auth.jwks_path";
        found.push(&["auth.anonymous"], message.to_owned());
    }
}

/// The files are read here too, so that a wrong one is told before anything is opened.
fn tls(config: &Config, found: &mut Found<'_>) {
    if let Some((setting, message)) = crate::tls::problem(&config.tls) {
        found.push(&[setting, "tls.certificate_path", "tls.key_path"], message);
    }
}

/// Keys are read here too, as those for tokens.
fn api(config: &Config, found: &mut Found<'_>) {
    if let Err(problem) = crate::api::Keys::load(&config.api_keys, config.auth.reload_interval) {
        found.push(&[&problem.setting], problem.message);
    }
    if config.api_keys.is_empty() && !config.api.listen.is_empty() {
        let message = "api.listen is set, and nobody has a key for the API: add an [api_keys.NAME] with a key and rights";
        found.push(&["api.listen"], message.to_owned());
    }
    let mut seen: Vec<SocketAddr> = Vec::new();
    let others = config.server.listen.iter().chain(&config.admin.listen);
    seen.extend(others);
    for &address in &config.api.listen {
        if address.port() != 0 && seen.contains(&address) {
            let message = format!("api.listen has \"{address}\" in it, which is there twice");
            found.push(&["api.listen"], message);
        }
        seen.push(address);
    }
}

/// Secrets are read here too, as keys.
fn webhooks(config: &Config, found: &mut Found<'_>) {
    for webhook in &config.webhooks {
        if let Some((key, message)) = crate::webhooks::problem(config, webhook) {
            // Where it is missing, nobody has set it: the table is where to look.
            let url = format!("webhooks.{}.url", webhook.name);
            found.push(&[&key, &url], message);
        }
    }
    for table in &config.authorize {
        if let Some((key, message)) = crate::authorize::problem(config, table) {
            let url = format!("authorize.{}.url", table.name);
            found.push(&[&key, &url], message);
        }
    }
}

fn timings(config: &Config, found: &mut Found<'_>) {
    let (ping, pong) = (config.core.ping_interval, config.core.pong_timeout);
    let keys = ["heartbeat.pong_timeout", "heartbeat.ping_interval"];
    if ping == 0 && pong != 0 {
        let message = "heartbeat.pong_timeout needs a heartbeat.ping_interval: without pings a silent client would be \
                       taken for gone; set both, or both to 0";
        found.push(&keys, message.to_owned());
    } else if pong != 0 && pong <= ping {
        let message = format!(
            "heartbeat.pong_timeout ({}) is not longer than heartbeat.ping_interval ({}): a client needs time to \
             answer; twice the interval is usual",
            Unit::Millis.show(pong),
            Unit::Millis.show(ping)
        );
        found.push(&keys, message);
    }
    let shutdown = &config.shutdown;
    if shutdown.delay >= shutdown.deadline {
        let message = format!(
            "shutdown.delay ({:?}) is not shorter than shutdown.deadline ({:?}): nothing would be left to end in",
            shutdown.delay, shutdown.deadline
        );
        found.push(&["shutdown.delay", "shutdown.deadline"], message);
    }
}

/// Bytes in a binary payload take a third more in JSON, and the envelope comes on top; so twice is enough.
fn queues(config: &Config, found: &mut Found<'_>) {
    let core = &config.core;
    let message = core.max_message;
    let bounds = [
        (
            "queues.event_lane",
            core.event_lane,
            message.saturating_mul(2),
            "twice limits.max_message",
        ),
        (
            "queues.publish_window",
            core.publish_window,
            message,
            "limits.max_message",
        ),
        (
            "queues.link_window",
            core.link_window,
            message.saturating_mul(2),
            "twice limits.max_message",
        ),
    ];
    for (key, bound, least, name) in bounds {
        if bound != 0 && bound < least {
            let message = format!(
                "{key} ({}) is less than {name} ({}): the largest message would never fit",
                Unit::Bytes.show(bound as u64),
                Unit::Bytes.show(least as u64)
            );
            found.push(&[key, "limits.max_message"], message);
        }
    }
}

fn proxies(config: &Config, found: &mut Found<'_>) {
    let server = &config.server;
    if server.proxy_protocol == ProxyProtocol::V2 && server.trusted_proxies.is_empty() {
        let message =
            "server.proxy_protocol = \"v2\" needs server.trusted_proxies: only their word is taken";
        found.push(&["server.proxy_protocol"], message.to_owned());
    }
}

fn static_dir(config: &Config, found: &mut Found<'_>) {
    if let Err(problem) = crate::http::Folder::load(&config.server.static_dir) {
        let message = format!("server.static_dir = {problem}");
        found.push(&["server.static_dir"], message);
    }
}

/// The file is read here too, so that a wrong one is told before anything is opened.
fn tracing(config: &Config, found: &mut Found<'_>) {
    if let Err(message) = crate::spans::check_headers(&config.tracing.headers_path) {
        found.push(&["tracing.headers_path"], message);
    }
    if !config.tracing.is_on() && !config.tracing.headers_path.is_empty() {
        let message = "tracing.headers_path is set, and nothing is traced: set tracing.endpoint";
        found.push(&["tracing.headers_path"], message.to_owned());
    }
}

fn memory(config: &Config, found: &mut Found<'_>) {
    if config.memory.keeps() && config.server.engine == Engine::Redis {
        let message = "memory.snapshot_path is set, and server.engine = \"redis\" keeps rooms and sessions in Redis: take one of the two away";
        found.push(
            &["memory.snapshot_path", "server.engine"],
            message.to_owned(),
        );
    }
}

/// Settings of Redis are checked wherever there are any, as `roomcast check` looks at a Redis that is not used yet.
fn redis(config: &Config, found: &mut Found<'_>) {
    let used = config.server.engine == Engine::Redis;
    let redis = &config.redis;
    if used && config.session_secret.expose().is_empty() {
        let message = "server.engine = \"redis\" needs a session.secret, the same on all servers and after each restart: \
                       resume tokens are signed with it";
        found.push(&["session.secret", "server.engine"], message.to_owned());
    }
    if used && redis.urls.is_empty() {
        let message =
            "server.engine = \"redis\" needs redis.urls, such as [\"redis://localhost:6379\"]";
        found.push(&["server.engine"], message.to_owned());
    }
    if !redis.urls.is_empty()
        && let Err((key, message)) = redis.connection()
    {
        found.push(&[key], message);
    }
    if used && redis.is_several() {
        let message = "redis.urls name several Redis servers, which server.engine = \"redis\" can't share rooms among: \
                       name one Redis, or set redis.mode to \"cluster\" or \"sentinel:NAME\"";
        found.push(&["redis.mode", "redis.urls"], message.to_owned());
    }
    if config.cluster.lacks_address() {
        let message = format!(
            "cluster.listen = {:?} stands for all addresses of this machine: set cluster.advertise to the one that the \
             other servers can reach, such as \"10.0.0.1:7400\"",
            config.cluster.listen
        );
        found.push(&["cluster.listen"], message);
    }
    let (grace, lease) = (config.core.session_grace, redis.lease);
    if is_named(config) && grace != 0 && lease >= grace {
        let message = format!(
            "redis.lease ({}) is not shorter than session.grace ({}): rooms of a server that dies wait for the lease, and \
             none of its clients would come back within the grace; a tenth of the grace is usual",
            Unit::Millis.show(lease),
            Unit::Millis.show(grace)
        );
        found.push(&["redis.lease", "session.grace"], message);
    }
    let (room, shard) = config.core.unconfirmed;
    if room > shard {
        let message = format!(
            "redis.unconfirmed_room ({}) is more than redis.unconfirmed_shard ({})",
            Unit::Bytes.show(room as u64),
            Unit::Bytes.show(shard as u64)
        );
        let keys = ["redis.unconfirmed_room", "redis.unconfirmed_shard"];
        found.push(&keys, message);
    }
}

/// Whether a Redis is named, of use or not yet.
fn is_named(config: &Config) -> bool {
    !config.redis.urls.is_empty()
}

fn warn(config: &Config, warnings: &mut Vec<String>) {
    let listeners = config.listeners();
    let open = |anonymous| move |listener: &super::Listener| listener.anonymous == anonymous;
    let everybody = |listener: &super::Listener| {
        !listener.loopback && listener.anonymous == Anonymous::Everybody
    };
    if listeners.iter().any(everybody) {
        let cause = if config.auth.anonymous == Some(true) {
            "auth.anonymous = true"
        } else {
            "--public-demo"
        };
        warnings.push(format!(
            "{cause}: everybody who can reach this server may join any room"
        ));
    }
    if config.auth.has_keys() && listeners.iter().any(open(Anonymous::Local)) {
        let message = "auth.anonymous = \"auto\" lets programs on this machine in without a token. A proxy on this \
                       machine that doesn't send X-Forwarded-For looks like one: set auth.anonymous = false there";
        warnings.push(message.to_owned());
    }
    if config.server.origins.contains(&AllowedOrigin::Any) {
        warnings.push("server.origins has \"*\" in it: any web page may connect".to_owned());
    }
    if config.server.engine == Engine::Memory && !config.redis.urls.is_empty() {
        let message =
            "redis.urls is set, and nothing is kept there: set server.engine = \"redis\" for that";
        warnings.push(message.to_owned());
    }
    if config.server.engine == Engine::Memory && !config.cluster.listen.is_empty() {
        let message = "cluster.listen is set, and there are no other servers: set server.engine = \"redis\" for that";
        warnings.push(message.to_owned());
    }
    let grace = u128::from(config.core.session_grace);
    let silent = config.redis.not_ready_after.as_millis();
    if is_named(config) && grace != 0 && silent * 3 > grace * 2 {
        warnings.push(format!(
            "redis.not_ready_after ({:?}) is more than two thirds of session.grace ({:?}): clients of a server without \
             Redis are sent elsewhere too late to come back within the grace",
            config.redis.not_ready_after,
            Duration::from_millis(config.core.session_grace)
        ));
    }
    let most = roomcast_core::backend::MOST_BATCH;
    if config.server.engine == Engine::Redis && config.server.sse && config.core.max_message > most
    {
        warnings.push(format!(
            "limits.max_message ({}) is more than a client of an event stream can send with Redis, which is {most} \
             bytes with all that it posts at once",
            Unit::Bytes.show(config.core.max_message as u64)
        ));
    }
    if config.core.max_message == 0 {
        warnings.push("limits.max_message is off: one client can use up the memory".to_owned());
    }
}
