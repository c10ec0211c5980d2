//! The load generator.

mod check;
mod conn;
mod frames;
mod inflate;
mod message;
mod pace;
mod plan;
mod sample;
mod stamp;
mod state;
mod swarm;

pub(crate) use check::Faults;
pub(crate) use pace::Measured;
pub(crate) use plan::{Pace, Plan, Say, Shape, Wire};
pub(crate) use swarm::{Opened, Swarm};
