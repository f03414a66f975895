//! Is what Branchline lets clients do strictly serialisable, and what it acknowledges applied exactly once, whatever
//! breaks between it and Dolt? A checker of histories, a proxy that breaks things, and the runs that use both.

#[path = "../support/mod.rs"]
mod support;

mod history;
mod checker;
mod known;
mod generated;
mod random;
mod proxy;
mod breaking;
mod client;
mod plan;
mod told;
mod work;
mod run;
mod cuts;
