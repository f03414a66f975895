//! The mechanical rules of CONTRIBUTING, over the files that git tracks or would track.
//! Every checker is shown a bad sample first, so that none of them passes for seeing nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const LINES_MAX: usize = 600;

/// What is wrong, as `file:line: what`.
type Problems = Vec<String>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Paths from the root, in order: tracked, or new and not ignored.
fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let mut files: Vec<String> = listed
        .split_terminator('\0')
        // Deleted, and not yet told to git.
        .filter(|path| root().join(path).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    files
}

fn texts(wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let texts: Vec<_> = files()
        .into_iter()
        .filter(|path| wanted(path))
        .filter_map(|path| Some((path.clone(), std::fs::read_to_string(root().join(path)).ok()?)))
        .collect();
    assert!(!texts.is_empty(), "nothing to check");
    texts
}

fn check(wanted: impl Fn(&str) -> bool, checker: impl Fn(&str, &str) -> Problems) {
    let problems: Problems = texts(wanted).iter().flat_map(|(path, text)| checker(path, text)).collect();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn is_rust_in(path: &str, dirs: &[&str]) -> bool {
    path.ends_with(".rs") && dirs.iter().any(|dir| path.starts_with(dir))
}

fn is_test_module(path: &str) -> bool {
    path.ends_with("_tests.rs") || path.ends_with("/tests.rs")
}

/// Lines that are code outside tests, with their numbers: comments are cut off, and so is what follows
/// `#[cfg(test)]`, which holds one item up to the end of its braces.
fn code_lines(text: &str) -> Vec<(usize, &str)> {
    let mut lines = Vec::new();
    let mut skipping = false;
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if skipping {
            // Formatted code: an item at the left margin ends with `}` or `;` there.
            let ends_here = !line.starts_with([' ', '#']) && (line == "}" || line.ends_with([';', '}']));
            skipping = !ends_here;
            continue;
        }
        if line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test") {
            skipping = true;
            continue;
        }
        if !trimmed.starts_with("//") {
            let code = line.split_once(" // ").map_or(line, |(code, _)| code);
            lines.push((at + 1, code));
        }
    }
    lines
}

fn is_pure(path: &str) -> bool {
    let statement = [
        "lexer",
        "reader",
        "body",
        "classify",
        "set",
        "summary",
        "changing",
        "head",
        "effects",
        "attribution",
        "retry",
    ];
    !is_test_module(path)
        && path.ends_with(".rs")
        && (path.starts_with("src/wire/")
            || path == "src/dolt/journal_record.rs"
            || path == "src/merge/rules.rs"
            || path == "src/merge/values.rs"
            || path.starts_with("src/session/route/")
            || path.starts_with("src/") && path.ends_with("/core.rs")
            || statement.iter().any(|name| path == format!("src/statement/{name}.rs")))
}

fn impure(path: &str, text: &str) -> Problems {
    let forbidden = ["tokio", "Instant::now", "SystemTime::now", "thread::sleep", ".elapsed()"];
    code_lines(text)
        .iter()
        .flat_map(|(at, line)| {
            let found = forbidden.iter().filter(|word| line.contains(**word));
            found.map(move |word| format!("{path}:{at}: {word} in a pure core"))
        })
        .collect()
}

#[test]
fn pure_cores_have_no_runtime_and_no_clock() {
    assert_eq!(impure("a", "use tokio::net::TcpStream;").len(), 1);
    assert_eq!(impure("a", "fn f() {\n    let now = Instant::now();\n}").len(), 1);
    assert_eq!(impure("a", "// tokio\nfn f(now: Instant) {}\n").len(), 0);
    assert!(is_pure("src/wire/frame.rs") && is_pure("src/dolt/core.rs") && !is_pure("src/net/stream.rs"));
    assert!(is_pure("src/statement/lexer.rs") && !is_pure("src/statement/relay.rs"));
    check(is_pure, impure);
}

fn panics(path: &str, text: &str) -> Problems {
    let calls = [".unwrap()", ".expect(", ".unwrap_err()", ".expect_err("];
    code_lines(text)
        .iter()
        .filter(|(_, line)| calls.iter().any(|call| line.contains(call)))
        .map(|(at, line)| format!("{path}:{at}: {}", line.trim()))
        .collect()
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    assert_eq!(panics("a", "fn f() {\n    x.unwrap();\n    y.expect(\"z\");\n}").len(), 2);
    assert_eq!(panics("a", "x.unwrap_or(1); x.unwrap_or_else(f); // .unwrap()").len(), 0);
    let in_tests = "#[cfg(test)]\nmod tests {\n    x.unwrap();\n}\n";
    assert_eq!(panics("a", in_tests).len(), 0);
    assert_eq!(panics("a", &format!("{in_tests}fn f() {{ x.unwrap() }}")).len(), 1);
    assert_eq!(panics("a", "#[cfg(test)]\nmod tests;\nfn f() { x.unwrap() }").len(), 1);
    check(|path| is_rust_in(path, &["src/"]) && !is_test_module(path), panics);
}

fn too_long(path: &str, text: &str) -> Problems {
    let lines = text.lines().count();
    if lines > LINES_MAX { vec![format!("{path}: {lines} lines, at most {LINES_MAX}")] } else { Vec::new() }
}

#[test]
fn no_file_is_too_long() {
    assert_eq!(too_long("a", &"x\n".repeat(LINES_MAX + 1)).len(), 1);
    assert_eq!(too_long("a", &"x\n".repeat(LINES_MAX)).len(), 0);
    check(|path| is_rust_in(path, &["src/", "tests/", "benches/", "fuzz/"]), too_long);
}

fn without_module_doc(path: &str, text: &str) -> Problems {
    if text.starts_with("//!") { Vec::new() } else { vec![format!("{path}: begins without a //! doc")] }
}

#[test]
fn modules_begin_with_their_doc() {
    assert_eq!(without_module_doc("a", "use x;\n//! late").len(), 1);
    assert_eq!(without_module_doc("a", "//! Owns a.\n").len(), 0);
    check(|path| is_rust_in(path, &["src/"]) && !is_test_module(path), without_module_doc);
}

/// In parts, so that this file does not hold what it forbids.
fn machine_words() -> Vec<String> {
    let paths = ["root", "work", "tmp/wt"].map(|dir| format!("/{dir}"));
    let hosts = [
        ("crates", "io"),
        ("proxy.golang", "org"),
        ("pypi", "org"),
        ("registry.npmjs", "org"),
        ("repo.maven", "apache.org"),
    ];
    paths.into_iter().chain(hosts.map(|(name, domain)| format!("{name}.{domain}"))).collect()
}

fn machine_bound(path: &str, text: &str) -> Problems {
    let words = machine_words();
    let mut problems = Problems::new();
    for (at, line) in text.lines().enumerate() {
        for word in words.iter().filter(|word| names(line, word)) {
            problems.push(format!("{path}:{}: {word}", at + 1));
        }
    }
    problems
}

/// A path counts where it begins: not `db/work` or `/workspace`, but `/work` and `/work/x`.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        if !word.starts_with('/') {
            return true;
        }
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let part_of_name = |c: char| c.is_alphanumeric() || "_-.`}*".contains(c);
        !before.is_some_and(part_of_name) && !after.is_some_and(|c| c.is_alphanumeric() || "_-".contains(c))
    })
}

#[test]
fn nothing_is_bound_to_one_machine_or_registry() {
    let [home, work, tree] = ["root", "work", "tmp/wt"].map(|dir| format!("/{dir}"));
    assert_eq!(machine_bound("a", &format!("see {home}/x\nand \"{work}\"\n{tree}/docs")).len(), 3);
    assert_eq!(machine_bound("a", &format!("from https://registry.npmjs.{}/x", "org")).len(), 1);
    assert_eq!(machine_bound("a", &format!("`db{work}`, {work}space, chroot{home}stock")).len(), 0);
    // The captor names them to keep them out of what it writes; the Go client has a branch of that name.
    let exempt = [
        ("scripts/capture-corpus.py", &home),
        ("scripts/capture-corpus.py", &work),
        ("tests/clients/go/main.go", &work),
    ];
    check(
        |_| true,
        |path, text| {
            let text = if path.ends_with("Cargo.lock") { without_sources(text) } else { text.to_owned() };
            let is_exempt = |problem: &String| {
                exempt.iter().any(|(file, word)| path == *file && problem.ends_with(*word))
            };
            machine_bound(path, &text).into_iter().filter(|problem| !is_exempt(problem)).collect()
        },
    );
}

fn without_sources(lock: &str) -> String {
    lock.lines().filter(|line| !line.starts_with("source = ")).collect::<Vec<_>>().join("\n")
}

/// Targets of `[text](target)` outside code blocks, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            for (start, _) in line.match_indices("](") {
                if let Some((target, _)) = line[start + 2..].split_once(')') {
                    found.push((at + 1, target.to_owned()));
                }
            }
        }
    }
    found
}

/// A heading as the anchor that it gets.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_anchor(text: &str, wanted: &str) -> bool {
    let mut headings = text.lines().filter(|line| line.starts_with('#'));
    headings.any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

fn dead_links(root: &Path, path: &str, text: &str) -> Problems {
    let dir = root.join(path).parent().map(Path::to_owned).unwrap_or_default();
    let dead = |target: &str| {
        if target.contains("://") || target.starts_with("mailto:") {
            return None;
        }
        let (file, wanted) = target.split_once('#').unwrap_or((target, ""));
        let to = if file.is_empty() { root.join(path) } else { dir.join(file) };
        if !file.is_empty() && !to.exists() {
            return Some("is not there");
        }
        let linked =
            if file.is_empty() { text.to_owned() } else { std::fs::read_to_string(to).unwrap_or_default() };
        (!wanted.is_empty() && !has_anchor(&linked, wanted)).then_some("has no such heading")
    };
    links(text)
        .iter()
        .filter_map(|(at, target)| dead(target).map(|why| format!("{path}:{at}: {target} {why}")))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let sample = "# A `b` c\n[a](no-such.md) [b](Cargo.toml)\n[c](#a-b-c) [d](#d) [e](https://x/y)\n```\n[f](z)\n```\n";
    let problems = dead_links(&root(), "sample.md", sample);
    assert_eq!(
        problems,
        ["sample.md:2: no-such.md is not there", "sample.md:3: #d has no such heading"],
        "the checker"
    );
    check(|path| path.ends_with(".md"), |path, text| dead_links(&root(), path, text));
}

/// Decisions by number: four digits, and none twice.
fn adr_problems<'a>(paths: impl IntoIterator<Item = &'a str>) -> Problems {
    let mut by_number: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut problems = Problems::new();
    for name in paths.into_iter().filter_map(|path| path.strip_prefix("docs/adr/")) {
        match name.split_once('-') {
            Some((number, _)) if number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                by_number.entry(number).or_default().push(name);
            }
            _ if name == "README.md" => {}
            _ => problems.push(format!("docs/adr/{name}: the name does not begin with four digits and -")),
        }
    }
    let twice = by_number.into_values().filter(|names| names.len() > 1);
    problems.extend(twice.map(|names| format!("docs/adr: one number for {}", names.join(" and "))));
    problems
}

#[test]
fn decisions_have_numbers_of_their_own() {
    assert_eq!(adr_problems(["docs/adr/0001-a.md", "docs/adr/0001-b.md", "docs/adr/c.md"]).len(), 2);
    assert_eq!(adr_problems(["docs/adr/0001-a.md", "docs/adr/0002-b.md", "docs/adr/README.md"]).len(), 0);
    let files = files();
    assert!(files.iter().any(|path| path.starts_with("docs/adr/0001-")), "no decisions found");
    let problems = adr_problems(files.iter().map(String::as_str));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
