//! Accounts that may not go below 0: the file of accounts names them, and the ledger holds them to it.
//!
//! Invariant: no order of such an account is taken here before the ledger has said that the account is limited, which it then is
//! for good. An order that it places through another exchange is not this one's concern.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use quorate_client::{ReadOptions, Session, SubmitError};
use quorate_domain::{Account, ActorName};
use quorate_ledger::{Command, ControlChange, ControlCommand, Outcome, Refusal};
use tokio::time::{Instant, sleep};

use crate::{accounts::Accounts, desk::Desk, lock::locked};

/// Pause before the accounts that are not limited yet are looked at again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one command is tried.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Accounts of one sort named in the log at most.
const NAMED_MAX: usize = 20;
/// Why, as the ledger keeps it.
const REASON: &str = "the exchange's file of accounts says so";

/// The accounts whose orders are not taken yet.
#[derive(Debug, Default)]
pub struct Limits(Mutex<BTreeSet<Account>>);

/// What came of an attempt.
enum Attempt {
    /// The ledger holds the account to it.
    Limited,
    /// Something was decided meanwhile: decide again.
    Moved,
    /// Not now.
    Failed(String),
}

impl Limits {
    /// All that are to be limited.
    #[must_use]
    pub fn new(accounts: Option<&Accounts>) -> Self {
        Self(Mutex::new(accounts.map(|accounts| accounts.limited().clone()).unwrap_or_default()))
    }

    /// Whether no order of an account may be taken yet.
    #[must_use]
    pub fn is_due(&self, account: &Account) -> bool {
        locked(&self.0).contains(account)
    }

    fn due(&self) -> Vec<Account> {
        locked(&self.0).iter().cloned().collect()
    }

    fn done(&self, account: &Account) {
        locked(&self.0).remove(account);
    }
}

/// Says what accounts may owe, and limits those that are due, once this exchange is registered. Never returns.
pub async fn limit(desk: Arc<Desk>) {
    while desk.look(|_, _| ()).is_none() {
        sleep(PAUSE).await;
    }
    loop {
        match limited_in_ledger(&desk).await {
            Ok(limited) => {
                for line in what_accounts_may_owe(desk.config.accounts.as_ref(), &limited) {
                    tracing::warn!("{line}");
                }
                break;
            }
            Err(why) => tracing::debug!(why, "which accounts are limited is not known yet"),
        }
        sleep(PAUSE).await;
    }
    let session = desk.client.session();
    while !desk.limits.due().is_empty() {
        for account in desk.limits.due() {
            limit_one(&desk, &session, &account).await;
        }
        sleep(PAUSE).await;
    }
    std::future::pending().await
}

/// All accounts that the ledger holds to their balances.
async fn limited_in_ledger(desk: &Desk) -> Result<BTreeSet<Account>, String> {
    let (mut limited, mut after) = (BTreeSet::new(), None);
    loop {
        let read = desk.client.balances(None, after.as_ref(), &ReadOptions::linearizable()).await;
        let page = read.map_err(|error| error.to_string())?.data;
        limited.extend(page.accounts.into_iter().filter(|row| row.limited).map(|row| row.account));
        after = page.next_after;
        if after.is_none() {
            return Ok(limited);
        }
    }
}

/// Which accounts may owe anything, which may not, where the file and the ledger differ, and what cures it.
fn what_accounts_may_owe(accounts: Option<&Accounts>, limited: &BTreeSet<Account>) -> Vec<String> {
    let Some(accounts) = accounts else {
        let mut lines = vec![
            "without a file of accounts anybody trades for any account, and accounts may owe any amount of any asset; \
                  start the exchange with --accounts, or hold an account to its balances with ledgerctl limit-account"
                .to_owned(),
        ];
        if !limited.is_empty() {
            lines.push(format!("the ledger holds these accounts to what they have: {}", listed(limited.iter())));
        }
        return lines;
    };
    let held = |account: &&Account| limited.contains(*account);
    let (file_limited, file_open): (Vec<_>, Vec<_>) =
        accounts.names().into_iter().partition(|account| accounts.limited().contains(*account));
    let (held_all_the_same, open): (Vec<_>, Vec<_>) = file_open.into_iter().partition(held);
    let (held_as_said, to_be_held): (Vec<_>, Vec<_>) = file_limited.into_iter().partition(held);
    let mut lines = Vec::new();
    let mut say = |accounts: Vec<&Account>, what: &str| {
        if !accounts.is_empty() {
            lines.push(format!("{what}: {}", listed(accounts.into_iter())));
        }
    };
    say(
        open,
        "these accounts are open and may owe any amount of any asset; those that should not need balances = \"limited\" in the \
         file of accounts",
    );
    if !(held_all_the_same.is_empty() && to_be_held.is_empty()) {
        say(held_as_said, "these accounts are limited, in the file of accounts as in the ledger");
    }
    say(
        held_all_the_same,
        "these accounts are open in the file of accounts, but the ledger holds them to what they have, for good: write balances = \
         \"limited\" for them, deposit with ledgerctl deposit what they need, or trade by another account",
    );
    say(
        to_be_held,
        "these accounts are limited in the file of accounts and still open in the ledger: they are limited there now, and their \
         orders are not taken before",
    );
    lines
}

/// The first of them by name, and how many there are besides.
fn listed<'a>(accounts: impl Iterator<Item = &'a Account>) -> String {
    let all: Vec<&str> = accounts.map(Account::as_str).collect();
    let shown = all.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    match all.len().checked_sub(NAMED_MAX) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

async fn limit_one(desk: &Desk, session: &Session, account: &Account) {
    loop {
        match attempt(desk, session, account).await {
            Attempt::Limited => {
                tracing::info!(%account, "the ledger holds the account to what it has");
                return desk.limits.done(account);
            }
            Attempt::Moved => {}
            Attempt::Failed(why) => {
                return tracing::warn!(%account, why, "not limited yet: its orders are not taken");
            }
        }
    }
}

async fn attempt(desk: &Desk, session: &Session, account: &Account) -> Attempt {
    let options = ReadOptions::linearizable();
    // Before the balances: whatever is decided after this is noticed.
    let control_version = match desk.client.status(&options).await {
        Ok(status) => status.data.control.control_version,
        Err(error) => return Attempt::Failed(error.to_string()),
    };
    match desk.client.balances(Some(account), None, &options).await {
        Ok(read) if read.data.accounts.iter().any(|row| row.account == *account && row.limited) => {
            return Attempt::Limited;
        }
        Ok(_) => {}
        Err(error) => return Attempt::Failed(error.to_string()),
    }
    let actor = match ActorName::new(desk.config.name.as_str()) {
        Ok(actor) => actor,
        Err(error) => return Attempt::Failed(error.to_string()),
    };
    let change = ControlChange::LimitAccount { account: account.clone() };
    let command = Command::Control(ControlCommand { actor, reason: REASON.to_owned(), control_version, change });
    match session.submit(&command, Instant::now() + ATTEMPT).await {
        Ok(response) => match response.outcome {
            Outcome::Accepted(_) => Attempt::Limited,
            Outcome::Refused(Refusal::ControlVersion { .. }) => Attempt::Moved,
            Outcome::Refused(refusal) => Attempt::Failed(refusal.to_string()),
        },
        // Where it was applied all the same, the balances say so.
        Err(SubmitError::NotApplied(problem) | SubmitError::Unknown { problem, .. }) => {
            Attempt::Failed(problem.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(file: &[(&str, &str)]) -> Accounts {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("accounts.toml");
        let row = |(name, balances): &(&str, &str)| {
            format!(
                "[[account]]\nname = \"{name}\"\nbalances = \"{balances}\"\n[[account.key]]\napi-key = \"of-{name}\"\nsecret = \"s\"\n\
                 permissions = [\"trade\"]\n"
            )
        };
        std::fs::write(&path, file.iter().map(row).collect::<String>()).expect("written");
        Accounts::read(&path).expect("valid")
    }

    fn said(accounts: Option<&Accounts>, limited: &[&str]) -> Vec<String> {
        let limited = limited.iter().map(|name| name.parse().expect("a name")).collect();
        what_accounts_may_owe(accounts, &limited)
    }

    #[test]
    fn it_is_said_which_accounts_may_owe_and_where_file_and_ledger_differ() {
        let file = accounts(&[("open", "open"), ("held", "open"), ("due", "limited"), ("done", "limited")]);
        let lines = said(Some(&file), &["held", "done", "stranger"]);
        let parts = [
            ("these accounts are open and may owe", "balances = \"limited\"", ": open"),
            ("these accounts are limited, in the file of accounts as in the ledger", "", ": done"),
            ("these accounts are open in the file of accounts, but", "ledgerctl deposit", ": held"),
            ("these accounts are limited in the file of accounts and still open", "limited there now", ": due"),
        ];
        assert_eq!(lines.len(), parts.len(), "{lines:?}");
        for (line, (begins, cures, names)) in lines.iter().zip(parts) {
            assert!(line.starts_with(begins) && line.contains(cures) && line.ends_with(names), "{line}");
        }
        assert!(
            said(Some(&accounts(&[("done", "limited")])), &["done"]).is_empty(),
            "nothing differs, and nobody may owe"
        );
    }

    #[test]
    fn without_a_file_all_may_owe_but_those_that_the_ledger_limits() {
        assert_eq!(said(None, &[]).len(), 1);
        let lines = said(None, &["a", "b"]);
        assert!(lines[0].contains("--accounts") && lines[1].ends_with(": a, b"), "{lines:?}");
        let many: Vec<String> = (10..35).map(|at| format!("a{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(said(None, &many)[1].ends_with("a29 and 5 more"));
    }
}
