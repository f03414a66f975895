//! Owns the walk over a TOML document: typed look-ups that remember lines and report what is wrong.
//! Does not know which keys exist: `raw` asks for them, and what nobody asked for is unknown.
//! Always: problems come in the order of the lines.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem, nearest};
use super::raw::Written;

/// A parsed config file.
pub struct Document<'d> {
    path: PathBuf,
    text: &'d str,
    root: Spanned<DeTable<'d>>,
    problems: RefCell<Vec<Problem>>,
}

impl<'d> Document<'d> {
    /// Parses; every syntax error is reported with its line and column.
    pub fn parse(path: &Path, text: &'d str) -> Result<Self, Vec<Problem>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self { path: path.to_path_buf(), text, root, problems: RefCell::default() });
        }
        let problem = |error: toml::de::Error| {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            Problem {
                origin: Origin::File { path: path.to_path_buf(), line },
                key: String::new(),
                what: format!(
                    "syntax error in column {column}: {}",
                    error.message().trim().replace('\n', ", ")
                ),
                allowed: String::new(),
            }
        };
        Err(errors.into_iter().map(problem).collect())
    }

    /// The top-level table.
    pub fn root(&self) -> Section<'_, 'd> {
        Section {
            document: self,
            prefix: String::new(),
            table: self.root.get_ref(),
            offset: 0,
            asked: Vec::new(),
            named: Vec::new(),
        }
    }

    /// What is wrong with keys and types, by line.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.problems.take();
        problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        problems
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin::File { path: self.path.clone(), line: position(self.text, offset).0 }
    }
}

/// One table of the document.
pub struct Section<'a, 'd> {
    document: &'a Document<'d>,
    prefix: String,
    table: &'a DeTable<'d>,
    offset: usize,
    asked: Vec<&'static str>,
    /// Keys that the user chose.
    named: Vec<String>,
}

impl<'a, 'd> Section<'a, 'd> {
    /// Where the table begins.
    pub fn origin(&self) -> Origin {
        self.document.origin(self.offset)
    }

    /// The table's dotted name.
    pub fn name(&self) -> String {
        self.prefix.clone()
    }

    /// Whether the key is there, with whatever type.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A text.
    pub fn string(&mut self, key: &'static str) -> Option<Written<String>> {
        let value = self.ask(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(self.written(value, text.to_string())),
            other => self.wrong_type(key, value.span(), other, "a text in quotes"),
        }
    }

    /// A list of texts.
    pub fn strings(&mut self, key: &'static str) -> Option<Written<Vec<String>>> {
        let value = self.ask(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            return self.wrong_type(key, value.span(), value.get_ref(), "a list of texts, as [\"a\", \"b\"]");
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push(text.to_string()),
                other => {
                    self.wrong_type::<()>(key, item.span(), other, "texts in the list");
                }
            }
        }
        Some(self.written(value, texts))
    }

    /// A whole number.
    pub fn integer(&mut self, key: &'static str) -> Option<Written<i64>> {
        let value = self.ask(key)?;
        let DeValue::Integer(number) = value.get_ref() else {
            return self.wrong_type(key, value.span(), value.get_ref(), "a whole number");
        };
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(self.written(value, number)),
            Err(_) => {
                let what = format!("{number} is too large");
                self.problem(key, value.span(), what, "a whole number below 2^63".to_owned());
                None
            }
        }
    }

    /// true or false.
    pub fn boolean(&mut self, key: &'static str) -> Option<Written<bool>> {
        let value = self.ask(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(self.written(value, *flag)),
            other => self.wrong_type(key, value.span(), other, "true or false"),
        }
    }

    /// A table inside this one.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'a, 'd>> {
        let value = self.ask(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(self.inner(self.dotted(key), table, value.span().start)),
            other => {
                self.wrong_type(key, value.span(), other, &format!("a table, as [{}]", self.dotted(key)))
            }
        }
    }

    /// The tables inside this one whose names the user chose: all that nobody asked for yet.
    pub fn named_sections(&mut self) -> Vec<(String, Section<'a, 'd>)> {
        let mut sections = Vec::new();
        for (key, value) in self.table {
            if let DeValue::Table(table) = value.get_ref()
                && !self.asked.iter().any(|asked| *asked == key.get_ref())
            {
                let name = key.get_ref().to_string();
                let section = self.inner(self.dotted(&name), table, value.span().start);
                self.named.push(name.clone());
                sections.push((name, section));
            }
        }
        sections
    }

    /// The tables of an array of tables.
    pub fn sections(&mut self, key: &'static str) -> Vec<Section<'a, 'd>> {
        let Some(value) = self.ask(key) else { return Vec::new() };
        let wanted = format!("tables, as [[{}]]", self.dotted(key));
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type::<()>(key, value.span(), value.get_ref(), &wanted);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    let name = format!("{}[{index}]", self.dotted(key));
                    sections.push(self.inner(name, table, item.span().start));
                }
                other => {
                    self.wrong_type::<()>(key, item.span(), other, &wanted);
                }
            }
        }
        sections
    }

    /// Every entry, for tables whose keys are names that the user chose.
    pub fn all_strings(self) -> BTreeMap<String, Written<String>> {
        let mut all = BTreeMap::new();
        for (key, value) in self.table {
            match value.get_ref() {
                DeValue::String(text) => {
                    all.insert(key.get_ref().to_string(), self.written(value, text.to_string()));
                }
                other => {
                    self.wrong_type::<()>(key.get_ref(), value.span(), other, "a text in quotes");
                }
            }
        }
        all
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self) {
        for key in self.table.keys() {
            let is_named = self.named.iter().any(|name| *name == key.get_ref().as_ref());
            if is_named || self.asked.iter().any(|asked| *asked == key.get_ref()) {
                continue;
            }
            let what = match nearest(key.get_ref(), &self.asked) {
                Some(name) => format!("unknown key; did you mean `{name}`?"),
                None => "unknown key".to_owned(),
            };
            self.problem(key.get_ref(), key.span(), what, self.asked.join(", "));
        }
    }

    fn ask(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'d>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn inner(&self, prefix: String, table: &'a DeTable<'d>, offset: usize) -> Section<'a, 'd> {
        Section { document: self.document, prefix, table, offset, asked: Vec::new(), named: Vec::new() }
    }

    fn dotted(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }

    fn written<T>(&self, at: &Spanned<DeValue<'d>>, value: T) -> Written<T> {
        Written { value, origin: self.document.origin(at.span().start) }
    }

    fn wrong_type<T>(&self, key: &str, span: Range<usize>, found: &DeValue<'d>, wanted: &str) -> Option<T> {
        let found = match found {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(key, span, format!("is {found}"), wanted.to_owned());
        None
    }

    fn problem(&self, key: &str, span: Range<usize>, what: String, allowed: String) {
        let problem =
            Problem { origin: self.document.origin(span.start), key: self.dotted(key), what, allowed };
        self.document.problems.borrow_mut().push(problem);
    }
}

/// Line and column, both from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
