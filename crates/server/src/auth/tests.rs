//! Good tokens, and everything that somebody could try with others.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use roomcast_core::{Identity, Rights, TokenFault};
use roomcast_protocol::Limits;
use serde_json::{Value, json};

use super::testing::{NOW, Pair, SECRET, hs256, p384, signed_with};
use super::{Algorithm, Authority, NewToken, Signer, fault};
use crate::config::AuthSettings;
use crate::files::FromFiles as _;

const HS256: &str = r#"{"alg":"HS256"}"#;

/// Files of a test's own.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

fn load(settings: &AuthSettings) -> Arc<Authority> {
    let authority = Authority::load(settings, &Limits::default());
    authority.unwrap().unwrap()
}

fn with_secret(change: impl FnOnce(&mut AuthSettings)) -> Arc<Authority> {
    let mut settings = AuthSettings {
        hs256_secret: SECRET.to_owned().into(),
        ..AuthSettings::default()
    };
    change(&mut settings);
    load(&settings)
}

fn with_public_key(pair: &Pair) -> Arc<Authority> {
    let files = Files::new();
    load(&AuthSettings {
        public_key_paths: vec![files.write("key.pem", &pair.public)],
        ..AuthSettings::default()
    })
}

fn with_jwks(set: &Value) -> Result<Arc<Authority>, String> {
    let files = Files::new();
    let settings = AuthSettings {
        jwks_path: files.write("jwks.json", &set.to_string()),
        ..AuthSettings::default()
    };
    Authority::load(&settings, &Limits::default()).map(Option::unwrap)
}

fn check(authority: &Authority, token: &str) -> Result<Identity, &'static str> {
    authority
        .verify(NOW * 1_000, token)
        .map_err(|fault| match fault {
            TokenFault::Bad(sentence) => sentence,
            _ => fault::NOT_SUPPORTED,
        })
}

fn refusal(authority: &Authority, token: &str) -> &'static str {
    match check(authority, token) {
        Err(sentence) => sentence,
        Ok(identity) => panic!("was taken: {identity:?}"),
    }
}

fn ada() -> Value {
    json!({"sub": "u7", "name": "Ada", "exp": NOW + 60})
}

/// [`ada`] with further claims, or others.
fn with(changes: Value) -> Value {
    let mut claims = ada();
    let (all, changes) = (
        claims.as_object_mut().unwrap(),
        changes.as_object().unwrap(),
    );
    all.extend(changes.clone());
    claims
}

#[test]
fn a_token_of_each_algorithm_says_who_its_client_is() {
    let is_ada = |identity: Identity| {
        assert_eq!((&*identity.user_id, &*identity.name), ("u7", "Ada"));
        assert_eq!(identity.rights("chat:42"), Rights::ALL);
        assert_eq!(
            identity.expires_at,
            (NOW + 60 + 30) * 1_000,
            "with the leeway"
        );
    };
    is_ada(check(&with_secret(|_| {}), &hs256(&ada())).unwrap());
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let pair = Pair::new(algorithm);
        is_ada(check(&with_public_key(&pair), &pair.sign(None, &ada())).unwrap());
        let set = json!({"keys": [pair.jwk("a")]});
        is_ada(check(&with_jwks(&set).unwrap(), &pair.sign(Some("a"), &ada())).unwrap());
    }
}

#[test]
fn no_key_means_no_tokens() {
    let settings = AuthSettings::default();
    assert!(
        Authority::load(&settings, &Limits::default())
            .unwrap()
            .is_none()
    );
}

#[test]
fn the_algorithm_is_the_keys_and_not_the_tokens() {
    let pair = Pair::new(Algorithm::Rs256);
    let public = with_public_key(&pair);
    let claims = ada().to_string();
    // The public key as the secret of an HMAC: as PEM, as it is written in the file, and without its last newline.
    for secret in [pair.public.as_str(), pair.public.trim_end()] {
        let token = signed_with(secret.as_bytes(), HS256, &claims);
        assert_eq!(refusal(&public, &token), fault::ALGORITHM);
        // The same where a secret is configured as well.
        let files = Files::new();
        let both = with_secret(|s| s.public_key_paths = vec![files.write("key.pem", &pair.public)]);
        assert_eq!(refusal(&both, &token), fault::SIGNATURE);
    }
    let secret = with_secret(|_| {});
    for alg in [
        "none", "None", "NONE", "nOnE", "", "HS512", "RS384", "PS256", "ES384", "hs256",
    ] {
        let header = json!({"alg": alg}).to_string();
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let unsigned = format!("{}.{}.", encoded(&header), encoded(&claims));
        assert_eq!(refusal(&secret, &unsigned), fault::ALGORITHM, "{alg}");
        let signed = signed_with(SECRET.as_bytes(), &header, &claims);
        assert_eq!(refusal(&secret, &signed), fault::ALGORITHM, "{alg}");
    }
    // The right signature under another algorithm's name.
    for alg in ["RS256", "ES256", "EdDSA"] {
        let header = json!({"alg": alg}).to_string();
        let token = signed_with(SECRET.as_bytes(), &header, &claims);
        assert_eq!(refusal(&secret, &token), fault::ALGORITHM, "{alg}");
    }
    let ed = Pair::new(Algorithm::EdDsa);
    assert_eq!(refusal(&public, &ed.sign(None, &ada())), fault::ALGORITHM);
}

#[test]
fn a_signature_is_the_keys_and_the_texts() {
    let authority = with_secret(|_| {});
    let other = signed_with(
        b"another secret of enough bytes, really",
        HS256,
        &ada().to_string(),
    );
    assert_eq!(refusal(&authority, &other), fault::SIGNATURE);
    let token = hs256(&ada());
    let parts: Vec<&str> = token.split('.').collect();
    let forged = URL_SAFE_NO_PAD.encode(with(json!({"sub": "root"})).to_string());
    let tampered = [parts[0], &forged, parts[2]].join(".");
    assert_eq!(refusal(&authority, &tampered), fault::SIGNATURE);
    let unsigned = [parts[0], parts[1], ""].join(".");
    assert_eq!(refusal(&authority, &unsigned), fault::SIGNATURE);
    let cut = &token[..token.len() - 3];
    assert_eq!(refusal(&authority, cut), fault::SIGNATURE);
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let (mine, theirs) = (Pair::new(algorithm), Pair::new(algorithm));
        let token = theirs.sign(None, &ada());
        assert_eq!(refusal(&with_public_key(&mine), &token), fault::SIGNATURE);
    }
}

#[test]
fn a_header_brings_no_key_and_no_extension() {
    let authority = with_secret(|_| {});
    let theirs = Pair::new(Algorithm::Es256);
    let header = json!({"alg": "HS256", "jwk": theirs.jwk("x"), "jku": "http://127.0.0.1:1/"});
    let token = signed_with(
        b"another secret of enough bytes, really",
        &header.to_string(),
        "{}",
    );
    assert_eq!(refusal(&authority, &token), fault::SIGNATURE);
    let header = r#"{"alg":"HS256","crit":["b64"],"b64":false}"#;
    let token = signed_with(SECRET.as_bytes(), header, &ada().to_string());
    assert_eq!(refusal(&authority, &token), fault::CRITICAL);
    let twice = r#"{"alg":"none","alg":"HS256"}"#;
    let token = signed_with(SECRET.as_bytes(), twice, &ada().to_string());
    assert_eq!(refusal(&authority, &token), fault::MALFORMED);
}

#[test]
fn times_are_looked_at_with_leeway() {
    let authority = with_secret(|_| {});
    let at = |claims: Value| check(&authority, &hs256(&claims)).map(|identity| identity.expires_at);
    assert_eq!(at(json!({"sub": "u"})), Err(fault::NO_EXPIRY));
    assert_eq!(at(json!({"exp": NOW - 29})), Ok((NOW + 1) * 1_000));
    assert_eq!(at(json!({"exp": NOW - 30})), Err(fault::EXPIRED));
    assert_eq!(at(json!({"exp": 0})), Err(fault::EXPIRED));
    assert_eq!(at(json!({"exp": -1e300})), Err(fault::EXPIRED));
    assert_eq!(at(json!({"exp": 1e300})), Ok(i64::MAX));
    assert_eq!(
        at(json!({"exp": NOW as f64 + 0.5})),
        Ok(NOW * 1_000 + 30_500)
    );
    assert_eq!(at(json!({"exp": NOW.to_string()})), Err(fault::CLAIMS));
    assert_eq!(at(with(json!({"nbf": NOW + 31}))), Err(fault::NOT_YET));
    assert!(at(with(json!({"nbf": NOW + 30}))).is_ok());
    let forever = with_secret(|s| s.require_exp = false);
    let identity = check(&forever, &hs256(&json!({"sub": "u"}))).unwrap();
    assert_eq!(identity.expires_at, 0);
    assert_eq!(
        refusal(&forever, &hs256(&json!({"exp": -30}))),
        fault::EXPIRED
    );
}

#[test]
fn audience_and_issuer_are_looked_at() {
    let plain = with_secret(|_| {});
    let strict = with_secret(|s| {
        s.audience = vec!["a".to_owned(), "b".to_owned()];
        s.issuer = vec!["i".to_owned()];
    });
    let of = |authority: &Authority, claims: Value| check(authority, &hs256(&with(claims))).err();
    assert_eq!(of(&plain, json!({"iss": "anybody"})), None);
    assert_eq!(
        of(&plain, json!({"aud": "somebody"})),
        Some(fault::AUDIENCE)
    );
    assert_eq!(of(&strict, json!({"aud": "b", "iss": "i"})), None);
    assert_eq!(of(&strict, json!({"aud": ["x", "a"], "iss": "i"})), None);
    assert_eq!(
        of(&strict, json!({"aud": "x", "iss": "i"})),
        Some(fault::AUDIENCE)
    );
    assert_eq!(
        of(&strict, json!({"aud": [], "iss": "i"})),
        Some(fault::AUDIENCE)
    );
    assert_eq!(of(&strict, json!({"iss": "i"})), Some(fault::AUDIENCE));
    assert_eq!(of(&strict, json!({"aud": "a"})), Some(fault::ISSUER));
    assert_eq!(
        of(&strict, json!({"aud": "a", "iss": "x"})),
        Some(fault::ISSUER)
    );
    assert_eq!(
        of(&strict, json!({"aud": 1, "iss": "i"})),
        Some(fault::CLAIMS)
    );
}

#[test]
fn rooms_and_rights() {
    let authority = with_secret(|_| {});
    let of = |claims: Value| check(&authority, &hs256(&with(claims)));
    let one = of(json!({"room": "chat:42"})).unwrap();
    assert_eq!(one.rights("chat:42"), Rights::ALL);
    assert_eq!(one.rights("chat:43"), Rights::NONE);
    let several = of(json!({"permissions": [
        {"rooms": ["chat:*", "lobby"], "allow": ["join", "publish"]},
        {"rooms": ["*"], "allow": ["history"]},
    ]}))
    .unwrap();
    let member = Rights::JOIN.union(Rights::PUBLISH).union(Rights::HISTORY);
    assert_eq!(several.rights("chat:1"), member);
    assert_eq!(several.rights("lobby"), member);
    assert_eq!(several.rights("arena:1"), Rights::HISTORY);
    let nothing = of(json!({"permissions": []})).unwrap();
    assert_eq!(nothing.rights("chat:1"), Rights::NONE);
    // Direct messages are of no room: allowed with everything, and where they are listed.
    let direct =
        of(json!({"room": "chat:42", "permissions": [{"rooms": [], "allow": ["direct"]}]}));
    assert!(of(json!({})).unwrap().direct && direct.unwrap().direct);
    let all = json!({"permissions": [{"rooms": ["*"], "allow": ["join", "publish", "presence", "history"]}]});
    let others = [&one, &several, &nothing, &of(all).unwrap()];
    assert!(others.iter().all(|it| !it.direct));
    let permission =
        |rooms: Value, allow: Value| json!({"permissions": [{"rooms": rooms, "allow": allow}]});
    let long = "x".repeat(129);
    for room in [
        "", "chat:4*", "*:*", "a*b", "a:b:*", "a b", ":*", "**", &long,
    ] {
        let refused = of(permission(json!([room]), json!(["join"])));
        assert_eq!(refused, Err(fault::ROOM), "{room}");
    }
    assert_eq!(of(json!({"room": "chat:*"})), Err(fault::ROOM));
    assert_eq!(
        of(permission(json!(["*"]), json!(["jion"]))),
        Err(fault::RIGHT)
    );
    assert_eq!(
        of(permission(json!("*"), json!(["join"]))),
        Err(fault::CLAIMS)
    );
    assert_eq!(
        of(json!({"permissions": [{"rooms": ["*"]}]})),
        Err(fault::CLAIMS)
    );
    let misspelt = json!({"permissions": [{"rooms": ["*"], "allow": ["join"], "deny": ["join"]}]});
    assert_eq!(of(misspelt), Err(fault::CLAIMS));
    let many: Vec<String> = (0..65).map(|n| format!("r{n}")).collect();
    assert_eq!(
        of(permission(json!(many), json!(["join"]))),
        Err(fault::TOO_MANY_GRANTS)
    );
    assert!(of(permission(json!(many[..64]), json!(["join"]))).is_ok());
}

#[test]
fn user_and_name_are_as_elsewhere() {
    let authority = with_secret(|_| {});
    let of = |claims: Value| check(&authority, &hs256(&with(claims)));
    let long = "x".repeat(129);
    for user in ["a b", "a\nb", &long] {
        assert_eq!(of(json!({"sub": user})), Err(fault::USER), "{user:?}");
    }
    assert_eq!(of(json!({"sub": 7})), Err(fault::CLAIMS));
    for name in [" Ada", "A\tda", &long] {
        assert_eq!(of(json!({"name": name})), Err(fault::NAME), "{name:?}");
    }
    let nobody = check(&authority, &hs256(&json!({"exp": NOW + 1}))).unwrap();
    assert_eq!((&*nobody.user_id, &*nobody.name), ("", ""));
    let twice = format!(r#"{{"sub":"a","sub":"b","exp":{}}}"#, NOW + 1);
    let token = signed_with(SECRET.as_bytes(), HS256, &twice);
    assert_eq!(refusal(&authority, &token), fault::CLAIMS);
}

#[test]
fn garbage_and_what_is_huge() {
    let authority = with_secret(|_| {});
    for garbage in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "e30.e30.e30",
        "{}",
        "é.é.é",
        "a.b.c.d.e",
    ] {
        assert_eq!(refusal(&authority, garbage), fault::MALFORMED, "{garbage}");
    }
    // Signed, and no object.
    for claims in ["", "[]", "7", "null", "{", "\u{0}"] {
        let token = signed_with(SECRET.as_bytes(), HS256, claims);
        assert_eq!(refusal(&authority, &token), fault::CLAIMS, "{claims:?}");
    }
    let huge = hs256(&with(json!({"x": "y".repeat(4096)})));
    assert_eq!(refusal(&authority, &huge), fault::TOO_LARGE);
    let deep = format!(
        r#"{{"aud":{}1{},"exp":{}}}"#,
        "[".repeat(900),
        "]".repeat(900),
        NOW + 1
    );
    let token = signed_with(SECRET.as_bytes(), HS256, &deep);
    assert_eq!(refusal(&authority, &token), fault::CLAIMS);
}

#[test]
fn a_kid_chooses_the_key() {
    let (a, b) = (Pair::new(Algorithm::Es256), Pair::new(Algorithm::Es256));
    let ed = Pair::new(Algorithm::EdDsa);
    let set = json!({"keys": [a.jwk("a"), b.jwk("b"), ed.jwk("e")]});
    let authority = with_jwks(&set).unwrap();
    assert!(check(&authority, &a.sign(Some("a"), &ada())).is_ok());
    assert!(check(&authority, &b.sign(Some("b"), &ada())).is_ok());
    assert!(
        check(&authority, &b.sign(None, &ada())).is_ok(),
        "all of the algorithm are tried"
    );
    assert_eq!(
        refusal(&authority, &a.sign(Some("b"), &ada())),
        fault::SIGNATURE
    );
    assert_eq!(
        refusal(&authority, &a.sign(Some("c"), &ada())),
        fault::UNKNOWN_KEY
    );
    assert_eq!(
        refusal(&authority, &a.sign(Some("e"), &ada())),
        fault::ALGORITHM
    );
}

#[test]
fn a_set_may_have_keys_that_are_not_for_us() {
    let key = Pair::new(Algorithm::Es256);
    let rsa = Pair::new(Algorithm::Rs256).jwk("r");
    let changed = |name: &str, value: Value| {
        let mut jwk = rsa.clone();
        jwk[name] = value;
        jwk
    };
    let set = json!({"keys": [
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "k"},
        changed("use", "enc".into()),
        changed("alg", "PS256".into()),
        changed("key_ops", json!(["encrypt"])),
        key.jwk("a"),
    ]});
    let authority = with_jwks(&set).unwrap();
    assert!(check(&authority, &key.sign(Some("a"), &ada())).is_ok());
    assert_eq!(
        authority.reload().map_err(|_| ()),
        Err(()),
        "its file is gone"
    );
    assert!(check(&authority, &key.sign(Some("a"), &ada())).is_ok());
    let wrong = |set: Value| with_jwks(&set).unwrap_err();
    assert!(
        wrong(json!({"keys": [changed("alg", "ES256".into())]}))
            .contains("says that it is for ES256")
    );
    assert!(wrong(json!({"keys": [changed("n", "AQAB".into())]})).contains("2048 to 8192"));
    assert!(wrong(json!({"keys": [changed("alg", "PS256".into())]})).contains("has no key for"));
    assert!(wrong(json!({"keys": []})).contains("has no key for"));
    assert!(wrong(json!([])).contains("is not a JWKS"));
    assert!(
        wrong(json!({"keys": [{"kty": "oct", "k": "c2hvcnQ"}]})).contains("less than 32 bytes")
    );
    let mut off_curve = key.jwk("a");
    off_curve["x"] = off_curve["y"].clone();
    assert!(wrong(json!({"keys": [off_curve]})).contains("P-256"));
}

#[test]
fn keys_that_cannot_be_used_are_told() {
    let files = Files::new();
    let wrong = |change: &dyn Fn(&mut AuthSettings)| {
        let mut settings = AuthSettings::default();
        change(&mut settings);
        let error = Authority::load(&settings, &Limits::default()).unwrap_err();
        error.replace(&files.0.path().display().to_string(), "")
    };
    let pair = Pair::new(Algorithm::EdDsa);
    let pem = |text: &str| {
        let path = files.write("k.pem", text);
        wrong(&|s| s.public_key_paths = vec![path.clone()])
    };
    assert!(pem("nonsense").contains("is not the public key of"));
    assert!(pem(&pair.private).contains("is a private key"));
    assert!(pem(&p384()).contains("P-256"));
    let missing = wrong(&|s| s.public_key_paths = vec!["/nowhere/k.pem".to_owned()]);
    assert!(
        missing.contains("auth.public_key_paths: \"/nowhere/k.pem\" cannot be read"),
        "{missing}"
    );
    let short = wrong(&|s| s.hs256_secret = "hunter2".to_owned().into());
    assert!(
        short.contains("less than 32 bytes") && !short.contains("hunter2"),
        "{short}"
    );
    let path = files.write("k.pem", &pair.public);
    let lacking = wrong(&|s| {
        s.public_key_paths = vec![path.clone()];
        s.algorithms = vec![Algorithm::Hs256];
    });
    assert_eq!(
        lacking,
        "auth.algorithms lacks \"EdDSA\", which a configured key is for"
    );
}

#[test]
fn what_is_signed_here_is_taken_here() {
    let unix_ms = crate::clock::own_unix_ms();
    let token = NewToken {
        user: "u7".to_owned(),
        name: Some("Ada".to_owned()),
        rooms: vec!["chat:*".to_owned()],
        allow: vec!["join".to_owned()],
        ttl: std::time::Duration::from_secs(60),
        ..NewToken::default()
    };
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    let identity = with_secret(|_| {}).verify(unix_ms, &signer.sign(&token).unwrap());
    assert_eq!(identity.unwrap().rights("chat:1"), Rights::JOIN);
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let pair = Pair::new(algorithm);
        let signer = Signer::from_pem(pair.private.as_bytes()).unwrap();
        assert_eq!(signer.algorithm(), algorithm.name());
        let signed = signer.sign(&token).unwrap();
        assert_eq!(
            &*with_public_key(&pair)
                .verify(unix_ms, &signed)
                .unwrap()
                .user_id,
            "u7"
        );
    }
}

#[test]
fn the_document_has_every_refusal() {
    let document = include_str!("../../../../docs/authentication.md");
    for sentence in fault::ALL {
        assert!(document.contains(&format!("| {sentence} |")), "{sentence}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let mut config = crate::config::Config::default();
    config.auth.hs256_secret = SECRET.to_owned().into();
    assert!(!format!("{config:?} {:?}", with_secret(|_| {})).contains("a secret for"));
}

proptest! {
    #[test]
    fn no_text_is_taken_or_panics(text in "[A-Za-z0-9_.{}\" -]{0,200}", any in ".*") {
        let authority = with_secret(|_| {});
        prop_assert!(check(&authority, &text).is_err());
        prop_assert!(check(&authority, &any).is_err());
    }

    #[test]
    fn a_signed_token_never_panics(header in ".*", claims in ".*") {
        let authority = with_secret(|_| {});
        let token = signed_with(SECRET.as_bytes(), &header, &claims);
        prop_assert!(check(&authority, &token).is_err());
        let token = signed_with(SECRET.as_bytes(), HS256, &claims);
        prop_assert!(check(&authority, &token).is_err());
    }

    #[test]
    fn a_changed_byte_is_never_taken(at in 0..1_000usize, byte in 33..127u8) {
        let authority = with_secret(|_| {});
        let token = hs256(&ada());
        let mut bytes = token.clone().into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert!(check(&authority, std::str::from_utf8(&bytes).unwrap()).is_err());
    }
}
