//! Which branches a text reads and writes: its own words, and what the catalogue says that they mean.
//! Does not take lanes. Always: coarse by database and branch, and sound: what can't be told is
//! [`Attributed::unattributable`], and the caller expects everything.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::changing::Changing;
use super::effects::{Class, Effect, Effects};
use crate::catalog::Schema;
use crate::dolt::procedures::{self, Takes};

/// A database, lower case, and one of its branches, as [`Place::head`] spells it.
pub type Branch = (String, String);

/// Where the session is.
pub struct Place<'a> {
    /// The current database, `db/branch` included; `None`: none.
    pub database: Option<&'a str>,
    /// Of a database and no revision: the branch that the session is on. Of a revision: its branch. `None`: there is
    /// no such database; the revision is no branch.
    pub head: &'a (dyn Fn(&str, Option<&str>) -> Option<String> + Sync),
}

/// A set of branches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// These.
    pub branches: BTreeSet<Branch>,
    /// All of these databases.
    pub databases: BTreeSet<String>,
    /// All of all databases.
    pub anything: bool,
}

/// What a text reads and writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributed {
    /// What it may write, or locks by a locking read.
    pub writes: Touched,
    /// What it may read; what it writes is not repeated.
    pub reads: Touched,
    /// Not to be told: all branches of all databases, for reading and writing.
    pub unattributable: bool,
    /// Values of its words that change from one run to the next.
    pub changing: Changing,
    /// Values that change come in by views, defaults, triggers or procedures.
    pub hidden_changing: bool,
    /// A procedure that is called may begin or end transactions.
    pub ends_transactions: bool,
    /// Schemas that were asked for and not there: with them, ask again.
    pub missing: BTreeSet<Branch>,
}

impl Attributed {
    /// Of what nothing is known.
    pub fn unknown() -> Self {
        Self { unattributable: true, hidden_changing: true, ends_transactions: true, ..Self::default() }
    }
}

/// Attributes a text. `schema` is `None` if it is not loaded; then it is in [`Attributed::missing`].
pub fn lanes_of(
    text: &[u8],
    effects: &Effects,
    place: &Place<'_>,
    schema: &dyn Fn(&str, &str) -> Option<Arc<Schema>>,
) -> Attributed {
    let mut task = Task { text, place, schema, out: Attributed::default() };
    if !effects.whole {
        task.out = Attributed::unknown();
    }
    task.out.changing = effects.changing();
    let mut current = place.database.map(str::to_owned);
    for (at, effect) in effects.statements.iter().enumerate() {
        task.statement(effect, current.as_deref());
        if let Class::Use { database } = &effect.class {
            current = Some(database.clone());
        }
        // What comes after it is on a branch that is not known yet.
        let last = at + 1 == effects.statements.len();
        if !last && task.moves_head(effect) {
            task.out.unattributable = true;
        }
    }
    task.out.reads.forget(&task.out.writes);
    task.out
}

struct Task<'a> {
    text: &'a [u8],
    place: &'a Place<'a>,
    schema: &'a dyn Fn(&str, &str) -> Option<Arc<Schema>>,
    out: Attributed,
}

impl Touched {
    /// Nothing at all.
    pub fn is_empty(&self) -> bool {
        self.branches.is_empty() && self.databases.is_empty() && !self.anything
    }

    /// Whether a branch is among them.
    pub fn contains(&self, database: &str, branch: &str) -> bool {
        self.anything
            || self.databases.contains(database)
            || self.branches.contains(&(database.to_owned(), branch.to_owned()))
    }

    fn forget(&mut self, other: &Self) {
        self.branches.retain(|branch| !other.branches.contains(branch));
    }
}

impl Task<'_> {
    fn moves_head(&self, effect: &Effect) -> bool {
        match &effect.class {
            Class::Call { procedure, literal_args } => {
                procedures::call(procedure, literal_args.as_deref()).is_none_or(|call| call.moves_head)
            }
            // `SET @@db_head_ref = …`
            Class::Set { .. } => sets_head(self.text),
            Class::Execute | Class::Unknown => true,
            _ => false,
        }
    }

    fn head(&self, name: &str) -> Option<Branch> {
        let (database, revision) = match name.split_once(['/', '@']) {
            Some((database, revision)) => (database, Some(revision)),
            None => (name, None),
        };
        let branch = (self.place.head)(database, revision)?;
        Some((database.to_lowercase(), branch))
    }

    fn statement(&mut self, effect: &Effect, current: Option<&str>) {
        let touches = match &effect.class {
            Class::Read | Class::Export | Class::Dml | Class::Ddl | Class::DatabaseDdl | Class::Temporary => {
                true
            }
            Class::Set { .. } | Class::Call { .. } => true,
            Class::Execute | Class::Unknown => {
                self.out.unattributable = true;
                self.out.hidden_changing = true;
                false
            }
            _ => false,
        };
        if !touches {
            return;
        }
        self.out.unattributable |= effect.qualifiers_cut;
        let own = current.and_then(|name| self.head(name));
        self.out.reads.anything |=
            current.is_some_and(|name| name.eq_ignore_ascii_case("information_schema"));
        if let Class::Call { procedure, literal_args } = &effect.class
            && let Some(call) = procedures::call(procedure, literal_args.as_deref())
        {
            self.take(&call.takes, own.as_ref());
            return;
        }
        let mut named: BTreeSet<Branch> = own.iter().cloned().collect();
        for qualifier in &effect.qualifiers {
            let database = &qualifier.database;
            match (self.place.head)(database, qualifier.revision.as_deref()) {
                Some(branch) => _ = named.insert((database.clone(), branch)),
                // A tag, a commit, `HEAD~1`: of whichever branch.
                None if qualifier.revision.is_some() && (self.place.head)(database, None).is_some() => {
                    self.out.reads.databases.insert(database.clone());
                }
                None => {}
            }
        }
        let writes =
            matches!(effect.class, Class::Dml | Class::Ddl | Class::DatabaseDdl | Class::Call { .. });
        let reached = self.reach(named, effect, writes);
        if effect.elsewhere.branches {
            self.out.reads.databases.extend(reached.iter().map(|(database, _)| database.clone()));
        }
        self.out.reads.anything |= effect.elsewhere.anything;
        if effect.class == Class::DatabaseDdl {
            let databases = effect.qualifiers.iter().map(|qualifier| qualifier.database.clone());
            self.out.writes.databases.extend(databases);
            self.out.writes.databases.extend(own.map(|(database, _)| database));
        }
        let touched = if writes || effect.locking { &mut self.out.writes } else { &mut self.out.reads };
        touched.branches.extend(reached);
    }

    /// What names on these branches lead to, these included.
    fn reach(&mut self, named: BTreeSet<Branch>, effect: &Effect, writes: bool) -> BTreeSet<Branch> {
        let calls = matches!(effect.class, Class::Call { .. });
        let mut reached = named.clone();
        let mut next: Vec<Branch> = named.into_iter().collect();
        while let Some((database, branch)) = next.pop() {
            let Some(schema) = (self.schema)(&database, &branch) else {
                self.out.missing.insert((database, branch));
                continue;
            };
            self.out.hidden_changing |= schema.is_volatile(self.text, writes);
            // Reads run no trigger and no procedure.
            let runs = calls || writes && !schema.triggers_on.is_empty();
            self.out.unattributable |= schema.is_unknown || runs && schema.unattributable;
            if runs {
                self.out.ends_transactions |= calls && (schema.ends_transactions || !schema.calls.is_empty());
                for procedure in &schema.calls {
                    let takes = procedures::call(procedure, None).map_or(Takes::Server, |call| call.takes);
                    self.take(&takes, Some(&(database.clone(), branch.clone())));
                }
            }
            let targets = schema.nonlocal_targets(self.text);
            let mut names: Vec<_> =
                targets.into_iter().map(|target| (database.as_str(), Some(target))).collect();
            for reach in [Some(&schema.by_views), runs.then_some(&schema.by_routines)].into_iter().flatten() {
                self.out.reads.anything |= reach.anything;
                if reach.branches {
                    self.out.reads.databases.insert(database.clone());
                    let named =
                        reach.names.iter().filter(|(name, _)| (self.place.head)(name, None).is_some());
                    self.out.reads.databases.extend(named.map(|(name, _)| name.clone()));
                }
                names.extend(reach.names.iter().map(|(name, revision)| (name.as_str(), revision.as_deref())));
            }
            for (name, revision) in names {
                match (self.place.head)(name, revision) {
                    Some(branch) => {
                        let branch = (name.to_owned(), branch);
                        if reached.insert(branch.clone()) {
                            next.push(branch);
                        }
                    }
                    // A tag, a commit, `HEAD~1`: of whichever branch.
                    None if revision.is_some() && (self.place.head)(name, None).is_some() => {
                        self.out.reads.databases.insert(name.to_owned());
                    }
                    None => {}
                }
            }
        }
        reached
    }

    /// One of Dolt's procedures. What it reads of other branches it reads at once, so nothing is noted.
    fn take(&mut self, takes: &Takes, own: Option<&Branch>) {
        let writes = &mut self.out.writes;
        match (takes, own) {
            (Takes::Nothing, _) => {}
            (Takes::Server, _) => writes.anything = true,
            // Without a database Dolt refuses them.
            (_, None) => {}
            (Takes::Database, Some((database, _))) => {
                writes.databases.insert(database.clone());
            }
            (Takes::Checkout(name), Some((database, branch))) => {
                if (self.place.head)(database, Some(name)).is_none() {
                    writes.branches.insert((database.clone(), branch.clone()));
                    writes.branches.insert((database.clone(), name.clone()));
                }
            }
            (Takes::Branches { current, named }, Some((database, branch))) => {
                if *current {
                    writes.branches.insert((database.clone(), branch.clone()));
                }
                for name in named {
                    // One that is to be made has no spelling yet.
                    let name = (self.place.head)(database, Some(name)).unwrap_or_else(|| name.clone());
                    writes.branches.insert((database.clone(), name));
                }
            }
        }
    }
}

/// Whether a SET may move the session to another branch.
fn sets_head(text: &[u8]) -> bool {
    // `_head_ref`, wherever it stands: only a text of several statements asks.
    text.windows(b"_head_ref".len()).any(|window| window.eq_ignore_ascii_case(b"_head_ref"))
}
