//! `LEDGER …`, `SHOW LEDGERS`.

use super::remotes::{names, optional, required};
use crate::admin::answer::Refusal;
use crate::admin::ledger::LedgerWork;
use crate::admin::remotes::{RemoteView, RemoteWork};
use crate::admin::tokens::Tokens;

const PUBLISH: &str = "LEDGER PUBLISH [INIT] [DISCARD] [MOVE] ['database'[, 'database' …]]";
const VERIFY: &str = "LEDGER VERIFY ['database']";
const WITHDRAW: &str = "LEDGER WITHDRAW 'database' 'table' KEY 'value'[, 'value' …]";
const REBUILD: &str = "LEDGER REBUILD 'database'";
const SHOW: &str = "SHOW LEDGERS ['database']";

pub(super) fn view(tokens: &mut Tokens) -> Option<Result<RemoteView, Refusal>> {
    let is_it = tokens.take_words(&["SHOW", "LEDGERS"]) || tokens.take_words(&["SHOW", "LEDGER", "STATUS"]);
    is_it.then(|| optional(tokens, "SHOW LEDGERS", SHOW).map(|database| RemoteView::Ledgers { database }))
}

pub(super) fn work(tokens: &mut Tokens) -> Option<Result<RemoteWork, Refusal>> {
    let work = if tokens.take_words(&["LEDGER", "PUBLISH"]) {
        publish(tokens)
    } else if tokens.take_words(&["LEDGER", "VERIFY"]) {
        optional(tokens, "LEDGER VERIFY", VERIFY).map(|database| LedgerWork::Verify { database })
    } else if tokens.take_words(&["LEDGER", "WITHDRAW"]) {
        withdraw(tokens)
    } else if tokens.take_words(&["LEDGER", "REBUILD"]) {
        rebuild(tokens)
    } else {
        return None;
    };
    Some(work.map(RemoteWork::Ledger))
}

fn publish(tokens: &mut Tokens) -> Result<LedgerWork, Refusal> {
    let init = tokens.take_words(&["INIT"]);
    let discard = tokens.take_words(&["DISCARD"]);
    let moved = tokens.take_words(&["MOVE"]);
    let databases = names(tokens, "LEDGER PUBLISH", PUBLISH)?;
    Ok(LedgerWork::Publish { databases, init, discard, moved })
}

fn withdraw(tokens: &mut Tokens) -> Result<LedgerWork, Refusal> {
    let database = required(tokens, "LEDGER WITHDRAW")?;
    let table = required(tokens, "LEDGER WITHDRAW 'database'")?;
    if !tokens.take_words(&["KEY"]) {
        return Err(Refusal::syntax(format!("KEY is missing; usage: {WITHDRAW}")));
    }
    let key = names(tokens, "KEY", WITHDRAW)?;
    if key.is_empty() {
        return Err(Refusal::syntax(format!("the key's values are missing; usage: {WITHDRAW}")));
    }
    Ok(LedgerWork::Withdraw { database, table, key })
}

fn rebuild(tokens: &mut Tokens) -> Result<LedgerWork, Refusal> {
    let database = required(tokens, "LEDGER REBUILD")?;
    tokens.end(REBUILD)?;
    Ok(LedgerWork::Rebuild { database })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(sql: &str) -> Result<RemoteWork, Refusal> {
        work(&mut Tokens::new(sql).unwrap()).expect("a command of ledgers")
    }

    #[test]
    fn what_may_be_asked() {
        let publish = |databases: &[&str], init, discard, moved| {
            let databases = databases.iter().map(|name| (*name).to_owned()).collect();
            Ok(RemoteWork::Ledger(LedgerWork::Publish { databases, init, discard, moved }))
        };
        assert_eq!(parsed("LEDGER PUBLISH"), publish(&[], false, false, false));
        assert_eq!(parsed("ledger publish init 'a', 'b'"), publish(&["a", "b"], true, false, false));
        assert_eq!(parsed("ledger publish discard move 'a'"), publish(&["a"], false, true, true));
        let withdrawn = parsed("LEDGER WITHDRAW 'a' 'issues' KEY 'bd-1', '2'");
        let want = LedgerWork::Withdraw {
            database: "a".to_owned(),
            table: "issues".to_owned(),
            key: vec!["bd-1".to_owned(), "2".to_owned()],
        };
        assert_eq!(withdrawn, Ok(RemoteWork::Ledger(want)));
        for (sql, text) in [
            ("LEDGER WITHDRAW 'a' 'issues' 'bd-1'", "KEY is missing"),
            ("LEDGER WITHDRAW 'a' 'issues' KEY", "values are missing"),
            ("LEDGER REBUILD", "LEDGER REBUILD"),
            ("LEDGER REBUILD 'a' 'b'", "LEDGER REBUILD"),
            ("LEDGER VERIFY 'a' 'b'", "LEDGER VERIFY"),
        ] {
            let refused = parsed(sql).expect_err(sql).to_string();
            assert!(refused.contains(text), "{sql}: {refused}");
        }
        assert!(work(&mut Tokens::new("SHOW LEDGERS").unwrap()).is_none());
    }
}
