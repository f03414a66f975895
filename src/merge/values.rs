//! Owns comparing, adding and uniting values as Dolt writes them. Pure.
//! Does not know rows or rules.
//! Always: `compare` is a total order in which only equal bytes are equal; numbers are never rounded in passing.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::rules::{Cell, Side};

/// What a column's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers and decimal fractions.
    Exact,
    /// FLOAT and DOUBLE.
    Float,
    /// JSON.
    Json,
    /// TIME: may be negative, and longer than a day.
    Time,
    /// Texts, dates and the rest: compared byte by byte.
    Bytes,
}

/// NULL is less than anything.
pub fn compare(kind: Kind, a: &Cell, b: &Cell) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => compare_values(kind, a, b).then_with(|| a.cmp(b)),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// The larger of two.
pub fn larger(kind: Kind, a: &Cell, b: &Cell) -> Cell {
    if compare(kind, a, b) == Ordering::Less { b.clone() } else { a.clone() }
}

fn compare_values(kind: Kind, a: &[u8], b: &[u8]) -> Ordering {
    let by_bytes = a.cmp(b);
    let (Ok(a), Ok(b)) = (std::str::from_utf8(a), std::str::from_utf8(b)) else { return by_bytes };
    match kind {
        Kind::Exact => match (Decimal::parse(a), Decimal::parse(b)) {
            (Some(a), Some(b)) => a.compare(&b),
            _ => by_bytes,
        },
        Kind::Float => match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => a.total_cmp(&b),
            _ => by_bytes,
        },
        Kind::Time => match (time_parts(a), time_parts(b)) {
            (Some(a), Some(b)) => a.compare(&b),
            _ => by_bytes,
        },
        Kind::Json | Kind::Bytes => by_bytes,
    }
}

/// `ours + theirs - base`; `None` if that can't be computed exactly.
pub fn sum(kind: Kind, base: Option<&[u8]>, ours: &[u8], theirs: &[u8]) -> Option<Vec<u8>> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let (base, ours, theirs) = (text(base.unwrap_or(b"0"))?, text(ours)?, text(theirs)?);
    if kind == Kind::Float {
        let (base, ours, theirs): (f64, f64, f64) =
            (base.parse().ok()?, ours.parse().ok()?, theirs.parse().ok()?);
        // Addition first: the same whichever side is ours.
        let sum = (ours + theirs) - base;
        return sum.is_finite().then(|| format!("{sum:?}").into_bytes());
    }
    if kind != Kind::Exact {
        return None;
    }
    let scaled = [base, ours, theirs].map(Decimal::parse);
    let [Some(base), Some(ours), Some(theirs)] = scaled else { return None };
    let scale = base.fraction.len().max(ours.fraction.len()).max(theirs.fraction.len());
    let [base, ours, theirs] = [base, ours, theirs].map(|number| number.scaled(scale));
    let sum = ours?.checked_add(theirs?)?.checked_sub(base?)?;
    let digits = format!("{:0>width$}", sum.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if sum < 0 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    Some(format!("{sign}{whole}{point}{fraction}").into_bytes())
}

/// A decimal number as written.
struct Decimal<'a> {
    negative: bool,
    /// Without zeros in front.
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Decimal<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let any = !whole.is_empty() || !fraction.is_empty();
        (any && is_number(whole) && is_number(fraction)).then(|| Self {
            negative,
            whole: whole.trim_start_matches('0'),
            fraction,
        })
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.bytes().all(|byte| byte == b'0')
    }

    fn compare(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| if number.is_zero() { 0 } else { 1 - 2 * i8::from(number.negative) };
        let by_sign = sign(self).cmp(&sign(other));
        if by_sign != Ordering::Equal || sign(self) == 0 {
            return by_sign;
        }
        let fraction = |number: &Self| number.fraction.trim_end_matches('0').to_owned();
        let size = (self.whole.len().cmp(&other.whole.len()))
            .then_with(|| self.whole.cmp(other.whole))
            .then_with(|| fraction(self).cmp(&fraction(other)));
        if self.negative { size.reverse() } else { size }
    }

    fn scaled(&self, scale: usize) -> Option<i128> {
        let digits = format!("{}{:0<scale$}", self.whole, self.fraction);
        let number: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        Some(if self.negative { -number } else { number })
    }
}

/// `-12:34:56.789` as the number -123456.789.
struct TimeParts {
    negative: bool,
    hours: u32,
    rest: String,
}

fn time_parts(text: &str) -> Option<TimeParts> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (hours, rest) = digits.split_once(':')?;
    Some(TimeParts { negative, hours: hours.parse().ok()?, rest: rest.to_owned() })
}

impl TimeParts {
    fn compare(&self, other: &Self) -> Ordering {
        let size = self.hours.cmp(&other.hours).then_with(|| self.rest.cmp(&other.rest));
        match (self.negative, other.negative) {
            (false, false) => size,
            (true, true) => size.reverse(),
            (negative, _) => {
                if negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        }
    }
}

/// Unites arrays and merges objects key by key; `pick` decides what is neither. `None`: one of the two is neither an
/// array nor an object, or they are not of the same kind.
pub fn merge_json(
    base: Option<&[u8]>,
    ours: &[u8],
    theirs: &[u8],
    pick: &dyn Fn(&str, &str) -> Side,
) -> Option<Vec<u8>> {
    let base = base.and_then(|base| std::str::from_utf8(base).ok());
    let (ours, theirs) = (std::str::from_utf8(ours).ok()?, std::str::from_utf8(theirs).ok()?);
    if let Some(united) = union(base, ours, theirs) {
        return Some(united.into_bytes());
    }
    merge_objects(base, ours, theirs, pick).map(String::into_bytes)
}

/// What is left of the base in its order, then what was added, ordered by its text.
fn union(base: Option<&str>, ours: &str, theirs: &str) -> Option<String> {
    let (ours, theirs) = (elements(ours)?, elements(theirs)?);
    let base = base.and_then(elements).unwrap_or_default();
    let [in_base, in_ours, in_theirs] =
        [&base, &ours, &theirs].map(|elements| elements.iter().copied().collect::<BTreeSet<&str>>());
    let mut united: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    for element in &base {
        if in_ours.contains(element) && in_theirs.contains(element) && seen.insert(*element) {
            united.push(element);
        }
    }
    united.extend(in_ours.union(&in_theirs).filter(|element| !in_base.contains(*element)));
    Some(format!("[{}]", united.join(", ")))
}

fn elements(text: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

fn members(text: &str) -> Option<BTreeMap<String, &str>> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    Some(members.into_iter().map(|(key, value)| (key, value.get())).collect())
}

fn merge_objects(
    base: Option<&str>,
    ours: &str,
    theirs: &str,
    pick: &dyn Fn(&str, &str) -> Side,
) -> Option<String> {
    let (ours, theirs) = (members(ours)?, members(theirs)?);
    let base = base.and_then(members).unwrap_or_default();
    let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let mut merged = Vec::new();
    for key in keys {
        let (before, our, their) = (base.get(key).copied(), ours.get(key).copied(), theirs.get(key).copied());
        let value = match (our, their) {
            (our, their) if our == their || before == their => our.map(str::to_owned),
            (our, their) if before == our => their.map(str::to_owned),
            // Removed by one side, changed by the other: as for rows, the change stays.
            (Some(changed), None) | (None, Some(changed)) => Some(changed.to_owned()),
            (Some(our), Some(their)) => Some(
                union(before, our, their)
                    .or_else(|| merge_objects(before, our, their, pick))
                    .unwrap_or_else(|| if pick(our, their) == Side::Ours { our } else { their }.to_owned()),
            ),
            (None, None) => None,
        };
        if let Some(value) = value {
            merged.push(format!("{}: {value}", serde_json::Value::String(key.clone())));
        }
    }
    Some(format!("{{{}}}", merged.join(", ")))
}
