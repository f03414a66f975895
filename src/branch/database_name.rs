//! Owns what a new database may be called. Does not know which there are.

/// MySQL's limit for database names.
const NAME_BYTES_MAX: usize = 64;
/// Databases that are Dolt's own, or that MySQL clients take for the server's.
const RESERVED: [&str; 5] = ["mysql", "information_schema", "performance_schema", "sys", "dolt"];

/// Why a database can't be called so. The name becomes a directory, and part of branch and remote names.
pub fn check(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts_well || !name.chars().all(fine) || name.len() > NAME_BYTES_MAX {
        let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
        return Err(format!(
            "{shown:?} can't be a rig's name: letters, digits, _ and -, a letter or digit first, at most {NAME_BYTES_MAX} \
             bytes"
        ));
    }
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(format!("{name} is reserved; choose another name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, fine) in [
            ("gastown", true),
            ("my-rig_2", true),
            ("2fast", true),
            ("", false),
            ("-x", false),
            ("_x", false),
            ("a b", false),
            ("a/b", false),
            ("a`b", false),
            ("é", false),
            ("MySQL", false),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
        ] {
            assert_eq!(check(name).is_ok(), fine, "{name}");
        }
    }
}
