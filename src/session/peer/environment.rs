//! Owns which variables of a process count, and when a value doesn't.
//! Does not read them.
//! Always: a value it gives is printable, UTF-8 and at most 1 KiB.

use crate::session::identity::ProcessEnvironment;

/// Longest value that counts.
const VALUE_BYTES_MAX: usize = 1024;

/// Picks from `NAME=value\0NAME=value\0…`; as for getenv, the first of a name counts.
pub(super) fn pick(pid: u32, block: &[u8]) -> ProcessEnvironment {
    let value = |name: &str| {
        let raw = block.split(|byte| *byte == 0).find_map(|variable| {
            let rest = variable.strip_prefix(name.as_bytes())?;
            rest.strip_prefix(b"=")
        })?;
        match usable(raw) {
            Ok(value) => (!value.is_empty()).then(|| value.to_owned()),
            Err(problem) => {
                tracing::warn!(pid, variable = name, problem, "variable of the client's process is not used");
                None
            }
        }
    };
    ProcessEnvironment {
        bd_branch: value("BD_BRANCH"),
        bd_actor: value("BD_ACTOR"),
        gt_polecat: value("GT_POLECAT"),
    }
}

fn usable(raw: &[u8]) -> Result<&str, &'static str> {
    if raw.len() > VALUE_BYTES_MAX {
        return Err("it is longer than 1 KiB");
    }
    let value = std::str::from_utf8(raw).map_err(|_| "it is not UTF-8")?;
    if value.chars().any(char::is_control) {
        return Err("it holds control characters");
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let long = [b"BD_BRANCH=", "x".repeat(1025).as_bytes()].concat();
        for (block, want) in [
            (&b"A=b\0BD_BRANCH=polecat-x\0C=d\0"[..], Some("polecat-x")),
            (b"BD_BRANCH=one\0BD_BRANCH=two\0", Some("one")),
            (b"BD_BRANCH=a=b", Some("a=b")),
            (b"XBD_BRANCH=x\0BD_BRANCHX=y\0", None),
            (b"BD_BRANCH=\0", None),
            (b"BD_BRANCH", None),
            (b"", None),
            (b"BD_BRANCH=\xff\0", None),
            (b"BD_BRANCH=a\nb\0", None),
            (&long[..], None),
            (&long[..long.len() - 1], Some(&"x".repeat(1024))),
        ] {
            let picked = pick(1, block);
            assert_eq!(picked.bd_branch.as_deref(), want, "{}", block.escape_ascii());
            assert_eq!((picked.bd_actor, picked.gt_polecat), (None, None));
        }
        let all = pick(1, b"GT_POLECAT=nux\0BD_ACTOR=mayor\0");
        assert_eq!((all.gt_polecat.as_deref(), all.bd_actor.as_deref()), (Some("nux"), Some("mayor")));
    }
}
