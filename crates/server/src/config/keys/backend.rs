//! What `[webhooks.NAME]` and `[authorize.NAME]` share: where an application's backend is, and what it is sent is signed with.

/// Where it is. `$takes` has an example.
macro_rules! url {
    ($settings:ty, $about:literal, $takes:literal) => {
        Key::new(
            "url",
            $about,
            &Text {
                place: |it: &mut $settings| &mut it.url,
                check: crate::webhooks::check_url,
                takes: $takes,
            },
        )
    };
}

macro_rules! secret {
    ($settings:ty, $about:literal) => {
        Key::new(
            "secret",
            $about,
            &Text {
                place: |it: &mut $settings| &mut it.secret.0,
                check: |_| Ok(()),
                takes: "one secret or two, or \"\" (they are in `secret_path`)",
            },
        )
        .secret()
    };
}

macro_rules! secret_path {
    ($settings:ty, $about:literal) => {
        Key::new(
            "secret_path",
            $about,
            &Text {
                place: |it: &mut $settings| &mut it.secret_path,
                check: |_| Ok(()),
                takes: "a file, such as \"/etc/roomcast/shop.whsec\", or \"\" (they are in `secret`)",
            },
        )
    };
}

macro_rules! ca_path {
    ($settings:ty) => {
        Key::new(
            "ca_path",
            "A PEM file with the certificates that are trusted for an `https` URL. If there is none, those count that the \
             system trusts.",
            &Text {
                place: |it: &mut $settings| &mut it.ca_path,
                check: |_| Ok(()),
                takes: "a file, or \"\" (none)",
            },
        )
    };
}

macro_rules! kinds {
    ($settings:ty, $about:literal) => {
        Key::new(
            "kinds",
            $about,
            &List {
                place: |it: &mut $settings| &mut it.kinds,
                read: items::kind,
                show: |kind| kind.clone(),
                takes: "a list of kinds, such as [\"chat\"]",
            },
        )
    };
}

pub(super) use {ca_path, kinds, secret, secret_path, url};
