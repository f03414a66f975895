//! The branch of each database for one session, and why.
//! Owns the decision per database. Does not talk to Dolt: `backend` sets what is decided here.
//! Always: the client's own checkout wins over a route; a database that was never looked at has no entry.

use std::collections::BTreeMap;

use super::identity::Identity;
use super::route::{self, Existence, Placement, Requested};
use crate::branch::{Book, Listing};
use crate::config::Routing;

/// The branch of each database for one session.
#[derive(Debug, Default)]
pub struct Heads {
    by_database: BTreeMap<String, Head>,
}

/// The branch of one database, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Database as Dolt spells it.
    pub database: String,
    /// Where the session is in it.
    pub place: Place,
    /// Why.
    pub reason: String,
}

/// Where a session is in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Where Dolt puts new sessions.
    Default,
    /// On this branch by its identity.
    Routed(String),
    /// Reads the default branch; this one is forked at the first write.
    Pending(String),
    /// On this branch by the client's own CALL DOLT_CHECKOUT.
    Chosen(String),
    /// May not be used: what to tell the client.
    Refused(String),
}

impl Heads {
    /// The entry of a database.
    pub fn get(&self, database: &str) -> Option<&Head> {
        self.by_database.get(&database.to_lowercase())
    }

    /// Whether this database was looked at.
    pub fn knows(&self, database: &str) -> bool {
        self.by_database.contains_key(&database.to_lowercase())
    }

    /// Nothing was decided: nothing routes this session.
    pub fn is_empty(&self) -> bool {
        self.by_database.is_empty()
    }

    /// All entries.
    pub fn all(&self) -> impl Iterator<Item = &Head> {
        self.by_database.values()
    }

    /// Decides for every database of the listing that was not decided before; whether anything new is
    /// to be set on the backend.
    pub fn decide(
        &mut self,
        identity: &Identity,
        listing: &Listing,
        book: &Book,
        routing: &Routing,
        assigned: &[route::AssignedRule],
    ) -> bool {
        let mut changed = false;
        for database in listing.databases() {
            if self.knows(database) {
                continue;
            }
            let head = decide_one(identity, database, (listing, book), routing, assigned);
            changed |= matches!(head.place, Place::Routed(_));
            self.by_database.insert(database.to_lowercase(), head);
        }
        changed
    }

    /// The client checked out a branch itself.
    pub fn chose(&mut self, database: &str, branch: &str) {
        self.put(database, Place::Chosen(branch.to_owned()), "the client called DOLT_CHECKOUT");
    }

    /// A pending branch is there now.
    pub fn forked(&mut self, database: &str, branch: &str) {
        let reason = self.get(database).map(|head| head.reason.clone()).unwrap_or_default();
        self.put(database, Place::Routed(branch.to_owned()), &reason);
    }

    /// The branch that the session was on, or was to get, is no more: it is where Dolt puts new sessions.
    pub fn departed(&mut self, database: &str, why: &str) {
        self.put(database, Place::Default, why);
    }

    fn put(&mut self, database: &str, place: Place, reason: &str) {
        let key = database.to_lowercase();
        let database =
            self.by_database.get(&key).map_or_else(|| database.to_owned(), |head| head.database.clone());
        self.by_database.insert(key, Head { database, place, reason: reason.to_owned() });
    }

    /// The session was reset: the client's own checkouts are gone, and with them their entries.
    pub fn reset(&mut self) {
        self.by_database.retain(|_, head| !matches!(head.place, Place::Chosen(_)));
    }

    /// Forgets databases that are not there any more.
    pub fn forget_dropped(&mut self, listing: &Listing) {
        self.by_database.retain(|name, _| listing.database(name).is_some());
    }

    /// Databases and branches to set on a backend that is new or was reset.
    pub fn to_set(&self) -> Vec<(String, String)> {
        self.by_database
            .values()
            .filter_map(|head| match &head.place {
                Place::Routed(branch) | Place::Chosen(branch) => {
                    Some((head.database.clone(), branch.clone()))
                }
                _ => None,
            })
            .collect()
    }
}

fn decide_one(
    identity: &Identity,
    database: &str,
    (listing, book): (&Listing, &Book),
    routing: &Routing,
    assigned: &[route::AssignedRule],
) -> Head {
    let requested = Requested { database: database.to_owned(), branch: None };
    let choice = route::choose(identity, Some(&requested), routing, assigned);
    let existence = match &choice.branch {
        route::Wanted::Branch(name) => book.existence(listing, database, name),
        _ => Existence::Missing,
    };
    let place = match route::resolve(&choice, database, &existence, routing) {
        Placement::OnBranch(branch) => Place::Routed(branch),
        Placement::ForkAtFirstWrite(branch) => Place::Pending(branch),
        Placement::Refused(refusal) => Place::Refused(refusal.text),
        Placement::Ended { told } => {
            let reason = format!("{}, but {told}", choice.reason);
            return Head { database: database.to_owned(), place: Place::Default, reason };
        }
        Placement::AsAsked | Placement::Default => Place::Default,
    };
    Head { database: database.to_owned(), place, reason: choice.reason.to_string() }
}
