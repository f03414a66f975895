//! Owns what a transcript is to the runner: whole, kept for reading, compared line by line.
//! Does not know the clients.
//! Always: a difference is shown where it begins, cut to what a person can read.

use std::fs;
use std::path::{Path, PathBuf};

/// Every client has something to say about each: observations, or that it does not offer this.
const SECTIONS: [&str; 20] = [
    "connect",
    "query",
    "prepared",
    "types_text",
    "types_binary",
    "large",
    "long_data",
    "multi",
    "call",
    "infile",
    "transaction",
    "error",
    "cancel",
    "cursor",
    "counts",
    "charset",
    "session",
    "dolt",
    "wide",
    "stream",
];
const PIPELINE: &str = "pipeline";
const SHOWN_LINES_MAX: usize = 60;
const SHOWN_CHARS_MAX: usize = 300;
const NOT_OFFERED: &str = "not offered by this client: ";

/// Writes the transcript where it outlives the test, for reading.
pub fn keep(name: &str, way: &str, transcript: &str) {
    let path = kept(name, way);
    fs::create_dir_all(path.parent().expect("a file has a directory")).expect("the directory can be made");
    fs::write(path, transcript).expect("the transcript can be written");
}

fn kept(name: &str, way: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(format!("{name}.{way}.txt"))
}

/// The program came to its end, said something about every section, and observed at least `floor` things.
pub fn assert_whole(name: &str, way: &str, transcript: &str, floor: usize) {
    let (body, last) = transcript.trim_end().rsplit_once('\n').unwrap_or_default();
    let claimed: Option<usize> = last.strip_prefix("checks: ").and_then(|number| number.parse().ok());
    let observed = body.lines().filter(|line| !line.starts_with(NOT_OFFERED)).count();
    assert_eq!(claimed, Some(observed), "{name}, {way}: last line `{last}`, {observed} observations");
    assert!(observed >= floor, "{name}, {way}: {observed} observations, at least {floor} expected");
    for section in SECTIONS.iter().chain([&PIPELINE]) {
        let said = body.lines().any(|line| {
            let line = line.strip_prefix(NOT_OFFERED).unwrap_or(line);
            line.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
        });
        assert!(said, "{name}, {way}: not a word about `{section}`");
    }
}

/// The ways, and what a required line begins with that holds for one of them only.
const ONLY: [(&str, &str); 2] = [("direct", "direct: "), ("branchline", "branchline: ")];

/// What must have succeeded is there, line for line: two equal failures are not a success. `#` begins a comment,
/// `direct: ` and `branchline: ` what is to differ.
pub fn assert_required(name: &str, way: &str, transcript: &str, required: &str) {
    let seen: std::collections::HashSet<&str> = transcript.lines().collect();
    let for_this_way = |line: &'_ str| -> Option<usize> {
        match ONLY.iter().find(|(_, mark)| line.starts_with(mark)) {
            Some((only, mark)) => (*only == way).then_some(mark.len()),
            None => Some(0),
        }
    };
    let required: Vec<&str> = required
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| for_this_way(line).map(|mark| &line[mark..]))
        .collect();
    assert!(!required.is_empty(), "{name}: nothing is required of it");
    let missing: Vec<&str> = required.into_iter().filter(|line| !seen.contains(line)).collect();
    assert!(
        missing.is_empty(),
        "{name}, {way}: not as required ({} has what it saw):\n{}",
        kept(name, way).display(),
        missing.join("\n")
    );
}

/// The transcript without what is required to differ.
pub fn without_what_differs(transcript: &str, required: &str) -> String {
    let differs: std::collections::HashSet<&str> = required
        .lines()
        .filter_map(|line| ONLY.iter().find_map(|(_, mark)| line.strip_prefix(mark)))
        .collect();
    transcript.lines().filter(|line| !differs.contains(line)).collect::<Vec<_>>().join("\n")
}

/// Equal, or a panic with a diff and with what the server `said`.
pub fn assert_equal(name: &str, direct: &str, through: &str, said: impl FnOnce() -> String) {
    if direct != through {
        let [left, right]: [Vec<&str>; 2] = [direct.lines().collect(), through.lines().collect()];
        panic!(
            "{name} sees something else through Branchline (- direct, + through; {} and its sibling have all of it):\n{}\n{}",
            kept(name, "branchline").display(),
            diff(&left, &right),
            said()
        );
    }
}

/// The lines that only one side has, in order: a longest common subsequence of what lies between equal ends.
fn diff(left: &[&str], right: &[&str]) -> String {
    let width = right.len() + 1;
    let mut common = vec![0_u32; (left.len() + 1) * width];
    for l in (0..left.len()).rev() {
        for r in (0..right.len()).rev() {
            common[l * width + r] = if left[l] == right[r] {
                common[(l + 1) * width + r + 1] + 1
            } else {
                common[(l + 1) * width + r].max(common[l * width + r + 1])
            };
        }
    }
    let (mut l, mut r) = (0, 0);
    let mut shown = Vec::new();
    while l < left.len() || r < right.len() {
        if l < left.len() && r < right.len() && left[l] == right[r] {
            (l, r) = (l + 1, r + 1);
        } else if r == right.len()
            || (l < left.len() && common[(l + 1) * width + r] >= common[l * width + r + 1])
        {
            shown.push(cut('-', left[l], right.get(r)));
            l += 1;
        } else {
            shown.push(cut('+', right[r], None));
            r += 1;
        }
    }
    let more = shown.len().saturating_sub(SHOWN_LINES_MAX);
    shown.truncate(SHOWN_LINES_MAX);
    if more > 0 {
        shown.push(format!("… and {more} more lines that differ"));
    }
    shown.join("\n")
}

/// A line short enough to read; of a long one, the part where it begins to differ from its counterpart.
fn cut(mark: char, line: &str, counterpart: Option<&&str>) -> String {
    let shared =
        counterpart.map_or(0, |other| line.chars().zip(other.chars()).take_while(|(a, b)| a == b).count());
    let length = line.chars().count();
    if length <= SHOWN_CHARS_MAX {
        return format!("{mark} {line}");
    }
    let name: String = line.chars().take_while(|c| *c != ':').take(80).collect();
    let from = shared.saturating_sub(40).min(length);
    let part: String = line.chars().skip(from).take(SHOWN_CHARS_MAX).collect();
    format!("{mark} {name}: [{length} characters, from {from}] …{part}…")
}

#[test]
fn a_diff_shows_only_what_differs() {
    assert_eq!(diff(&["a: 1", "b: 2", "c: 3"], &["a: 1", "b: 9", "c: 3", "d: 4"]), "- b: 2\n+ b: 9\n+ d: 4");
}

#[test]
fn what_is_required_of_one_way_is_not_compared_but_required() {
    let required = "a: 1\ndirect: b: no\nbranchline: b: yes\n";
    assert_required("x", "direct", "a: 1\nb: no\n", required);
    assert_required("x", "branchline", "a: 1\nb: yes\n", required);
    assert_eq!(without_what_differs("a: 1\nb: yes\n", required), "a: 1");
    let swapped = std::panic::catch_unwind(|| assert_required("x", "direct", "a: 1\nb: yes\n", required));
    assert!(swapped.is_err());
}

#[test]
#[should_panic(expected = "not a word about `query`")]
fn a_transcript_without_a_section_is_not_whole() {
    assert_whole("x", "direct", "connect.a: 1\nchecks: 1\n", 1);
}

#[test]
#[should_panic(expected = "2 observations")]
fn a_transcript_that_miscounts_is_not_whole() {
    assert_whole("x", "direct", "connect.a: 1\nconnect.b: 1\nchecks: 3\n", 1);
}

#[test]
#[should_panic(expected = "at least 5 expected")]
fn a_transcript_below_the_floor_is_not_whole() {
    assert_whole("x", "direct", "connect.a: 1\nchecks: 1\n", 5);
}

#[test]
#[should_panic(expected = "a: 2")]
fn a_required_line_that_is_missing_is_told() {
    assert_required("x", "direct", "a: 1\nb: 2\n", "# why\na: 2\nb: 2\n");
}
