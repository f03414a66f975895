//! The arguments of a CALL of one of Dolt's procedures, read as Dolt's argument parser reads them.
//! Does not know which procedure it is. Always: `None` where a branch may be named that was not seen.

/// String literals, or `None` if they are not all such.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a>(pub Option<&'a [String]>);

/// Flags without a value, and options whose value is the next argument, of DOLT_BRANCH and DOLT_CHECKOUT.
const KNOWN_FLAGS: &[&str] = &[
    "b",
    "B",
    "c",
    "copy",
    "d",
    "delete",
    "D",
    "f",
    "force",
    "m",
    "move",
    "r",
    "remote",
    "t",
    "track",
    "u",
    "set-upstream-to",
    "overwrite-ignore",
    "no-overwrite-ignore",
];

impl<'a> Arguments<'a> {
    /// The first that is no flag.
    pub fn first(self) -> Option<&'a str> {
        self.0?.iter().map(String::as_str).find(|arg| !arg.starts_with('-'))
    }

    /// The first that is neither a flag nor the value of `--user`. Dolt takes any number of dashes.
    pub fn first_after_user(self) -> Option<&'a str> {
        let mut args = self.0?.iter();
        while let Some(arg) = args.next() {
            match arg.trim_start_matches('-') {
                name if name.len() == arg.len() => return Some(arg),
                "user" => _ = args.next(),
                _ => {}
            }
        }
        None
    }

    /// Values of `--branch`. Dolt takes any number of dashes.
    pub fn branch_option(self) -> Option<Vec<String>> {
        let mut named = Vec::new();
        let mut args = self.0?.iter();
        while let Some(arg) = args.next() {
            let name = arg.trim_start_matches('-');
            if name.len() == arg.len() {
                continue;
            }
            match name.strip_prefix("branch") {
                Some("") => named.extend(args.next().cloned()),
                Some(rest) => named.push(rest.trim_start_matches('=').to_owned()),
                None => {}
            }
        }
        Some(named)
    }

    /// All that may name a branch: what is no flag, and the values of flags. `None` if a flag is not known.
    pub fn positional(self) -> Option<Vec<String>> {
        let mut named = Vec::new();
        for arg in self.0? {
            let name = arg.trim_start_matches('-');
            if name.len() == arg.len() {
                named.push(arg.clone());
                continue;
            }
            let (flag, value) = name.split_once('=').unwrap_or((name, ""));
            // `-df`: several of one letter. `--` has none.
            let letters = flag.len() <= 3 && flag.chars().all(|letter| "dDfrcm".contains(letter));
            if !letters && !KNOWN_FLAGS.contains(&flag) {
                return None;
            }
            if !value.is_empty() {
                named.push(value.to_owned());
            }
        }
        Some(named)
    }

    /// Whether this flag is among them, or may be.
    pub fn may_have_flag(self, flag: &str) -> bool {
        self.0.is_none_or(|args| args.iter().any(|arg| arg.trim_start_matches('-') == flag))
    }

    /// Arguments of the DOLT_FETCH that does the long part of a DOLT_PULL; `None` if that can't be told.
    pub fn fetch_before_pull(self) -> Option<Vec<String>> {
        let mut fetch = Vec::new();
        let mut args = self.0?.iter();
        while let Some(arg) = args.next() {
            match arg.trim_start_matches('-') {
                name if name.len() == arg.len() => fetch.push(arg.clone()),
                "user" => fetch.extend([arg.clone(), args.next()?.clone()]),
                name if name.starts_with("user=") => fetch.push(arg.clone()),
                // What only the merge needs; and `--prune`, which may not stand beside a ref.
                _ => {}
            }
        }
        Some(fetch)
    }
}
