//! Several nodes with one Redis, and clients in processes of their own.

mod cluster;
mod crew;
mod guard;
mod load;
mod redis;
mod worker;

pub(crate) use cluster::{Cluster, Engine};
pub(crate) use crew::{Clients, Crew, Errand, faults, moments, sum};
pub(crate) use guard::guard;
pub(crate) use load::Load;
pub(crate) use redis::{Calls, Keeps, Redis};
pub(crate) use worker::{moment, work};
