//! `[cluster]`.

use super::super::field::Text;
use super::super::{Config, cluster};
use super::{Key, Section};

pub(super) static CLUSTER: Section = Section {
    name: "cluster",
    about: "How servers with one Redis reach each other. See docs/scaling.md.",
    keys: &[
        Key::new(
            "listen",
            "Where the other servers connect to this one. What servers say to each other then goes from one to the other, \
             and not over Redis. They prove to each other that they have the same `session.secret`. Nothing is \
             encrypted: use it in a network that you trust. Port 0 lets the system choose a port.",
            &Text {
                place: |c: &mut Config| &mut c.cluster.listen,
                check: cluster::listen,
                takes: "an address with a port, such as \"10.0.0.1:7400\", or \"\" (over Redis)",
            },
        )
        .flag("--cluster-listen ADDR:PORT"),
        Key::new(
            "advertise",
            "What the other servers connect to. If it is empty: the address of `listen`. It is needed where that stands \
             for all addresses of the machine, such as `0.0.0.0:7400`.",
            &Text {
                place: |c: &mut Config| &mut c.cluster.advertise,
                check: cluster::advertise,
                takes: "a host with a port, such as \"node-1.internal:7400\", or \"\"",
            },
        ),
    ],
};
