//! What names mean on one branch.
//! Does not ask Dolt. Always: all names in it are lower case; what a text hides counts for all of its database.

use std::collections::{BTreeMap, BTreeSet};

use crate::dolt::procedures;
use crate::statement::effects::{mentions_word, scan};
use crate::statement::lexer::{DoubleQuotes, Lexer, TokenKind, name_value};

/// What was read of a branch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Views, triggers, procedures, events.
    pub objects: Vec<Object>,
    /// Rows of `dolt_nonlocal_tables`.
    pub nonlocal: Vec<Nonlocal>,
    /// Rows of `dolt_ignore`.
    pub ignored: Vec<(String, bool)>,
    /// Table, and the default of one of its columns or its whole definition.
    pub defaults: Vec<(String, String)>,
}

/// One object that has a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// The CREATE statement.
    pub text: String,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A view.
    View,
    /// A trigger.
    Trigger,
    /// A stored procedure.
    Procedure,
    /// An event, and whatever else Dolt may keep there.
    Event,
}

/// A table that lives on another branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonlocal {
    /// Of table names; `%` and `*` for any characters, `?` for one.
    pub pattern: String,
    /// The branch (or tag, or commit).
    pub target: String,
}

/// What names mean on one branch of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    /// It could not be read: everything is to be expected.
    pub is_unknown: bool,
    /// What the texts of views name.
    pub by_views: Reach,
    /// What the texts of triggers and procedures name.
    pub by_routines: Reach,
    /// A trigger or procedure holds dynamic SQL, or something that is not understood.
    pub unattributable: bool,
    /// A procedure may begin or end transactions.
    pub ends_transactions: bool,
    /// Dolt's own procedures that triggers and procedures call, with arguments that are not known.
    pub calls: BTreeSet<String>,
    /// Tables that live on other branches.
    pub nonlocal: Vec<Nonlocal>,
    /// Some text mentions one of these tables.
    pub nonlocal_in_texts: bool,
    /// Tables into which a write may bring changing values: by defaults, ON UPDATE and triggers.
    pub volatile_tables: BTreeSet<String>,
    /// Views whose rows change by themselves.
    pub volatile_views: BTreeSet<String>,
    /// Procedures that use changing values.
    pub volatile_procedures: BTreeSet<String>,
    /// Patterns of `dolt_ignore`, and whether they ignore.
    pub ignored: Vec<(String, bool)>,
    /// All views.
    pub views: BTreeSet<String>,
    /// Tables that have triggers.
    pub triggers_on: BTreeSet<String>,
}

/// What texts name beyond their own branch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Names before dots, and their revisions: databases among them.
    pub names: BTreeSet<(String, Option<String>)>,
    /// They may read other branches of the databases that they name.
    pub branches: bool,
    /// They may read anything.
    pub anything: bool,
}

/// What is of use of one object.
struct Read {
    kind: ObjectKind,
    /// Of the view or procedure; of the trigger's table.
    name: String,
    words: BTreeSet<String>,
    changing: bool,
}

impl Facts {
    /// Names of the views.
    pub fn views(&self) -> impl Iterator<Item = &str> {
        self.objects.iter().filter(|object| object.kind == ObjectKind::View).map(|view| view.name.as_str())
    }

    /// Whether a column of this table has a default that changes.
    pub fn has_changing_default(&self, table: &str) -> bool {
        self.defaults.iter().any(|(of, text)| of == table && is_changing(text))
    }
}

impl Schema {
    /// Of a branch that could not be read.
    pub fn unknown() -> Self {
        Self { is_unknown: true, unattributable: true, ends_transactions: true, ..Self::default() }
    }

    /// What the facts mean.
    pub fn of(facts: Facts) -> Self {
        let mut schema = Self { ignored: facts.ignored, nonlocal: facts.nonlocal, ..Self::default() };
        let views: BTreeSet<String> = facts
            .objects
            .iter()
            .filter(|o| o.kind == ObjectKind::View)
            .map(|o| o.name.to_lowercase())
            .collect();
        schema.volatile_tables = facts
            .defaults
            .iter()
            .filter(|(table, text)| !views.contains(&table.to_lowercase()) && is_changing(text))
            .map(|(table, _)| table.to_lowercase())
            .collect();
        schema.views = views;
        let read: Vec<Read> = facts.objects.iter().filter_map(|object| schema.read(object)).collect();
        schema.spread(&read);
        schema
    }

    fn read(&mut self, object: &Object) -> Option<Read> {
        // Dolt runs events by itself, in no session of ours.
        if object.kind == ObjectKind::Event {
            return None;
        }
        let words = words(&object.text);
        let effect = scan(object.text.as_bytes());
        self.unattributable |= effect.qualifiers_cut;
        let reach = if object.kind == ObjectKind::View { &mut self.by_views } else { &mut self.by_routines };
        reach.branches |= effect.elsewhere.branches;
        reach.anything |= effect.elsewhere.anything || effect.qualifiers_cut;
        let named = effect.qualifiers.into_iter().map(|name| (name.database, name.revision));
        reach.names.extend(named);
        self.nonlocal_in_texts |= words.iter().any(|word| self.is_nonlocal(word));
        let mut name = object.name.to_lowercase();
        if object.kind != ObjectKind::View {
            // A column of such a name only makes it coarser.
            self.unattributable |= words.contains("execute") || words.contains("prepare");
            self.ends_transactions |=
                ["start", "commit", "rollback", "autocommit"].iter().any(|word| words.contains(*word));
            self.calls.extend(procedures::names().filter(|name| words.contains(*name)).map(str::to_owned));
        }
        if object.kind == ObjectKind::Trigger {
            match triggers_table(&object.text) {
                Some(table) => name = table,
                None => self.unattributable = true,
            }
            self.triggers_on.insert(name.clone());
        }
        Some(Read { kind: object.kind, name, words, changing: !effect.changing.is_empty() })
    }

    /// What uses something that changes, changes.
    fn spread(&mut self, read: &[Read]) {
        let mut known = BTreeMap::new();
        loop {
            let before = known.len();
            for (at, object) in read.iter().enumerate() {
                if known.contains_key(&at) {
                    continue;
                }
                let uses = |names: &BTreeSet<String>| !names.is_disjoint(&object.words);
                // A view that reads a table is not changed by that table's defaults.
                let changes = object.changing
                    || uses(&self.volatile_views)
                    || object.kind != ObjectKind::View
                        && (uses(&self.volatile_tables) || uses(&self.volatile_procedures));
                if changes {
                    known.insert(at, ());
                    let names = match object.kind {
                        ObjectKind::View => &mut self.volatile_views,
                        ObjectKind::Procedure => &mut self.volatile_procedures,
                        ObjectKind::Trigger | ObjectKind::Event => &mut self.volatile_tables,
                    };
                    names.insert(object.name.clone());
                }
            }
            if known.len() == before {
                return;
            }
        }
    }

    /// Whether this lower-case name is of a table that lives on another branch.
    pub fn is_nonlocal(&self, table: &str) -> bool {
        self.nonlocal.iter().any(|nonlocal| matches(&nonlocal.pattern.to_lowercase(), table))
    }

    /// Branches on which tables live that the text mentions.
    pub fn nonlocal_targets(&self, text: &[u8]) -> BTreeSet<&str> {
        let is_used = |nonlocal: &&Nonlocal| {
            let pattern = nonlocal.pattern.to_lowercase();
            self.nonlocal_in_texts || mentions_word(text, |word| matches(&pattern, &word.to_lowercase()))
        };
        self.nonlocal.iter().filter(is_used).map(|nonlocal| nonlocal.target.as_str()).collect()
    }

    /// Whether values that change by themselves come into what the text reads, or writes if it does.
    pub fn is_volatile(&self, text: &[u8], writes: bool) -> bool {
        if self.is_unknown {
            return true;
        }
        let nothing = self.volatile_views.is_empty()
            && (!writes || self.volatile_tables.is_empty() && self.volatile_procedures.is_empty());
        !nothing
            && mentions_word(text, |word| {
                let word = word.to_lowercase();
                self.volatile_views.contains(&word)
                    || writes
                        && (self.volatile_tables.contains(&word) || self.volatile_procedures.contains(&word))
            })
    }
}

fn is_changing(text: &str) -> bool {
    !scan(text.as_bytes()).changing.is_empty()
}

fn words(text: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    mentions_word(text.as_bytes(), |word| {
        words.insert(word.to_lowercase());
        false
    });
    words
}

/// `CREATE TRIGGER … ON [db.]table FOR EACH ROW`.
fn triggers_table(text: &str) -> Option<String> {
    let mut lexer = Lexer::new(text.as_bytes(), DoubleQuotes::Text);
    loop {
        let token = lexer.next_token()?;
        if token.kind == TokenKind::Word && lexer.bytes(token).eq_ignore_ascii_case(b"on") {
            break;
        }
    }
    let mut table = lexer.next_token()?;
    while lexer.clone().next_token()?.kind == TokenKind::Dot {
        lexer.next_token()?;
        table = lexer.next_token()?;
    }
    match table.kind {
        TokenKind::Word | TokenKind::QuotedName => {
            Some(String::from_utf8(name_value(lexer.bytes(table))).ok()?.to_lowercase())
        }
        _ => None,
    }
}

/// Whether `pattern` (`%` and `*` any, `?` one) matches all of `name`. Linear but for its wildcards.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('%' | '*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match &mut retry {
                Some((star, from)) => {
                    *from += 1;
                    (p, n) = (*star + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| matches!(c, '%' | '*'))
}
