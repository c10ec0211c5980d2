//! The load generator.

mod check;
mod conn;
mod fleet;
mod frames;
mod inflate;
mod live;
mod message;
mod pace;
mod plan;
mod route;
mod sample;
mod stamp;
mod state;
mod swarm;

pub(crate) use check::Faults;
pub(crate) use fleet::{Fleet, Waits};
pub(crate) use live::Live;
pub(crate) use pace::{Look, Measured};
pub(crate) use plan::{Pace, Plan, Say, Shape, Wire};
pub(crate) use route::Route;
pub(crate) use swarm::{Opened, Opening, Swarm, latencies};
